package doctor_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
)

func TestWrongCredentialsAreToldApartFromAStoreThatIsDown(t *testing.T) {
	found := shared.examine(t, func(s *system.System) { s.Stores[1].SecretKey = shared.ref("near-secret") }, doctor.Stores)
	require.Equal(t, []string{"stores/far/credentials"}, found.ids(doctor.Problem))
	f := found.is(t, "stores/far/credentials", doctor.Problem, "SignatureDoesNotMatch", "check access_key and secret_key")
	require.NotContains(t, f.What, shared.near.SecretKey)
	for _, unknown := range found.Of(doctor.Unknown) {
		require.Equal(t, "stores/far/credentials", unknown.Because, "the same fault is told once: %s", unknown.ID())
	}
	require.Len(t, found.Of(doctor.Unknown), 10)
}

func TestAStoreThatIsDownIsNamedByWhereItFails(t *testing.T) {
	port := closedPort(t)
	for name, c := range map[string]struct{ endpoint, what, mend string }{
		"no server":    {"http://127.0.0.1:" + port, "no connection to 127.0.0.1:" + port + ": connect: connection refused", "nc -vz 127.0.0.1 " + port},
		"no such name": {"http://nobody.invalid:9000", "the name nobody.invalid does not resolve", "getent hosts nobody.invalid"},
		"no TLS":       {strings.Replace(shared.far.Endpoint, "http:", "https:", 1), "no TLS is spoken there", "write http://"},
		"not trusted":  {untrusted(t), "its certificate is not trusted", "set ca_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			found := shared.examine(t, func(s *system.System) { s.Stores[1].Endpoint = c.endpoint }, doctor.Stores)
			require.Equal(t, []string{"stores/far/reachable"}, found.ids(doctor.Problem))
			found.is(t, "stores/far/reachable", doctor.Problem, c.what, c.mend)
			require.Len(t, found.Of(doctor.Unknown), 12)
			require.Equal(t, doctor.OK, found.found(t, "stores/near/reachable").Status, "the other store is examined all the same")
		})
	}
}

func TestAMissingBucketIsNamed(t *testing.T) {
	found := shared.examine(t, func(s *system.System) { s.Stores[1].Bucket = "nobody-made-this" }, doctor.Stores)
	require.Equal(t, []string{"stores/far/bucket"}, found.ids(doctor.Problem))
	found.is(t, "stores/far/bucket", doctor.Problem, "bucket does not exist", "create the bucket")
}

func TestAnUnversionedBucketIsAProblem(t *testing.T) {
	found := shared.examine(t, func(s *system.System) { s.Stores[0].Bucket = "shop-unversioned" }, doctor.Stores)
	require.Equal(t, []string{"stores/near/versioning"}, found.ids(doctor.Problem))
	found.is(t, "stores/near/versioning", doctor.Problem, "keeps no versions", "put-bucket-versioning --bucket shop-unversioned")
	found.is(t, "stores/near/object lock", doctor.Warning, "Object Lock is off", "Days=30")
}

func TestEachPermissionIsAskedForByItself(t *testing.T) {
	for name, c := range map[string]struct {
		denied func(r *http.Request) bool
		id     string
		status doctor.Status
		mend   string
	}{
		"put": {func(r *http.Request) bool { return r.Method == http.MethodPut }, "stores/far/put", doctor.Problem, `"Action": "s3:PutObject", "Resource": "arn:aws:s3:::shop/*"`},
		"get": {func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/doctor/")
		}, "stores/far/get", doctor.Problem, `"s3:GetObject"`},
		"head": {func(r *http.Request) bool {
			return r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/doctor/")
		}, "stores/far/head", doctor.Problem, `"s3:GetObject"`},
		"list":       {func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, "stores/far/list", doctor.Problem, `"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::shop"`},
		"versioning": {func(r *http.Request) bool { return r.URL.Query().Has("versioning") }, "stores/far/versioning", doctor.Warning, `"s3:GetBucketVersioning"`},
		"lock":       {func(r *http.Request) bool { return r.URL.Query().Has("object-lock") }, "stores/far/object lock", doctor.Warning, `"s3:GetBucketObjectLockConfiguration"`},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := between(t, c.denied, nil)
			found := shared.examine(t, func(s *system.System) { s.Stores[1].Endpoint = endpoint }, doctor.Stores)
			found.is(t, c.id, c.status, "", c.mend)
			if c.status == doctor.Problem {
				require.Equal(t, []string{c.id}, found.ids(doctor.Problem), "only this one is missing")
			}
		})
	}
}

func TestAWriterThatMayNotDeleteIsRightAndItsProbeIsRemovedByWhoMay(t *testing.T) {
	endpoint := between(t, func(r *http.Request) bool { return r.Method == http.MethodDelete }, nil)
	found := shared.examine(t, func(s *system.System) { s.Stores[1].Endpoint = endpoint }, doctor.Stores)
	require.True(t, found.Healthy())
	note := found.found(t, "stores/far/delete")
	require.Equal(t, doctor.OK, note.Status)
	require.Contains(t, note.What, "not allowed, as a writer need not be")
	require.Len(t, shared.probes(t), 1)

	later := shared.config(t, nil)
	later.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	x := doctor.New(later)
	defer x.Close()
	report := examined{x.Run(t.Context(), doctor.Stores)}
	f := report.is(t, "stores/far/probes", doctor.Warning, "1 probes of earlier examinations", "--fix")
	require.Equal(t, "delete 1 old probes under doctor/ of far", f.Fix)
	x.Fix(t.Context(), &report.Report)
	f = report.found(t, "stores/far/probes")
	require.Equal(t, doctor.OK, f.Status)
	require.Equal(t, "delete 1 old probes under doctor/ of far", f.Fixed)
	require.Empty(t, shared.probes(t))
}

// probes lists what lies in the far store for nobody.
func (h *house) probes(t *testing.T) []string {
	t.Helper()
	opened, err := parts().Store(t.Context(), h.system.Stores[1])
	require.NoError(t, err)
	var keys []string
	for info, err := range opened.List(t.Context(), store.ProbeFolder, store.ListOptions{}) {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

func TestAStoreThatReplacesWhatMustBeWrittenOnceIsAProblem(t *testing.T) {
	endpoint := between(t, nil, func(answer *http.Response) error {
		if answer.StatusCode == http.StatusPreconditionFailed {
			answer.StatusCode, answer.Status = http.StatusOK, "200 OK"
			answer.Header.Set("ETag", `"accepted"`)
			answer.Body, answer.ContentLength = http.NoBody, 0
			answer.Header.Set("Content-Length", "0")
		}
		return nil
	})
	found := shared.examine(t, func(s *system.System) { s.Stores[1].Endpoint = endpoint }, doctor.Stores)
	require.Equal(t, []string{"stores/far/write once"}, found.ids(doctor.Problem))
	found.is(t, "stores/far/write once", doctor.Problem, "If-None-Match is not honoured", "conditional writes")
	require.Empty(t, shared.probes(t))
}

func TestAClockThatDiffersIsFoundFromAnyAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		off    time.Duration
		status doctor.Status
		what   string
	}{
		"a little behind": {2 * time.Minute, doctor.Warning, "behind the store's"},
		"much ahead":      {-10 * time.Minute, doctor.Problem, "ahead of the store's"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := between(t, nil, func(answer *http.Response) error {
				answer.Header.Set("Date", time.Now().Add(c.off).UTC().Format(http.TimeFormat))
				return nil
			})
			found := shared.examine(t, func(s *system.System) {
				s.Stores[1].Endpoint, s.Stores[1].SecretKey = endpoint, shared.ref("near-secret") // a refusal tells the time, too
			}, doctor.Stores)
			found.is(t, "stores/far/clock", c.status, c.what, "timedatectl")
		})
	}
}

// between is a proxy in front of the far store that denies requests and changes answers.
func between(t *testing.T, denied func(*http.Request) bool, change func(*http.Response) error) string {
	t.Helper()
	to, err := url.Parse(shared.far.Endpoint)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: change,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if denied != nil && denied(r) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func untrusted(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshakes that are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func closedPort(t *testing.T) string {
	t.Helper()
	port, err := lab.FreePort()
	require.NoError(t, err)
	return strconv.Itoa(port)
}
