package check_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/check"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
)

const second = system.Duration(time.Second)

func TestHTTPChecksSeeStatusAndBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			w.WriteHeader(http.StatusBadGateway)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			_, _ = w.Write([]byte("frende is well"))
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		check system.Check
		ok    bool
		seen  string
	}{
		{system.Check{URL: server.URL + "/"}, true, "status 200"},
		{system.Check{URL: server.URL + "/moved"}, true, "status 200"},
		{system.Check{URL: server.URL + "/moved", Expect: 302}, true, "status 302"},
		{system.Check{URL: server.URL + "/down", Expect: 502}, true, "status 502"},
		{system.Check{URL: server.URL + "/", Contains: "well"}, true, `status 200, contains "well"`},
		{system.Check{URL: server.URL + "/", Contains: "ill"}, false, `status 200, but the body does not contain "ill"`},
		{system.Check{URL: server.URL + "/down"}, false, "status 502, not 200"},
	} {
		c.check.Name, c.check.Kind = "backend", system.CheckHTTP
		result, err := check.Run(t.Context(), c.check, check.Deps{})
		require.Equal(t, c.ok, result.OK)
		require.Equal(t, c.seen, result.Message)
		require.Equal(t, !c.ok, fault.Has(err, fault.CheckFailed), "%v", err)
		require.Equal(t, 1, result.Tries)
	}
}

func TestACheckIsTriedUntilItIsTrue(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	result, err := check.Run(t.Context(), system.Check{Name: "backend", Kind: system.CheckHTTP, URL: server.URL, Within: 30 * second}, check.Deps{})
	require.NoError(t, err)
	require.True(t, result.OK)
	require.Equal(t, 3, result.Tries)
}

func TestACheckThatStaysFalseIsNamedWithWhatWasSeen(t *testing.T) {
	address := closedPort(t)
	started := time.Now()
	result, err := check.Run(t.Context(), system.Check{Name: "front door", Kind: system.CheckTCP, Address: address, Within: second / 2}, check.Deps{})
	require.True(t, fault.Has(err, fault.CheckFailed), "%v", err)
	require.ErrorContains(t, err, "check front door: check failed: ")
	require.ErrorContains(t, err, "connection refused")
	require.False(t, result.OK)
	require.Greater(t, result.Tries, 1)
	require.GreaterOrEqual(t, time.Since(started), 500*time.Millisecond)
}

func TestEachTryHasItsOwnTime(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	_, err := check.Run(t.Context(), system.Check{Name: "backend", Kind: system.CheckHTTP, URL: server.URL, Timeout: second / 20}, check.Deps{})
	require.ErrorContains(t, err, "no answer within 50ms")

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = check.Run(ctx, system.Check{Name: "backend", Kind: system.CheckHTTP, URL: server.URL, Timeout: 60 * second, Within: 60 * second}, check.Deps{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCommandChecksSeeTheExitStatus(t *testing.T) {
	result, err := check.Run(t.Context(), system.Check{Name: "tool", Kind: system.CheckCommand, Command: []string{"true"}}, check.Deps{})
	require.NoError(t, err)
	require.Equal(t, "exit status 0", result.Message)
	_, err = check.Run(t.Context(), system.Check{Name: "tool", Kind: system.CheckCommand, Command: []string{"/bin/sh", "-c", "echo broken >&2; exit 2"}}, check.Deps{})
	require.ErrorContains(t, err, "check tool: check failed: sh: exit status 2: broken")
	_, err = check.Run(t.Context(), system.Check{Name: "tool", Kind: system.CheckCommand, Command: []string{"no-such-program"}, Within: 60 * second}, check.Deps{})
	require.True(t, fault.Has(err, fault.ConfigInvalid), "what can't be asked isn't tried again: %v", err)
}

func TestNoSecretOfAnAddressIsTold(t *testing.T) {
	address := "http://probe:hunter2@" + closedPort(t) + "/?token=hunter2"
	result, err := check.Run(t.Context(), system.Check{Name: "backend", Kind: system.CheckHTTP, URL: address}, check.Deps{})
	require.Error(t, err)
	require.NotContains(t, err.Error()+result.Message, "hunter2")
	_, err = check.Run(t.Context(), system.Check{Name: "backend", Kind: system.CheckHTTP, URL: "http://probe:hunter2@bad host/"}, check.Deps{})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestChecksOfWhatIsNotConfiguredAreRefused(t *testing.T) {
	for _, c := range []system.Check{
		{Name: "x", Kind: system.CheckSQL, Database: "frende"}, {Name: "x", Kind: system.CheckRedis, Cache: "frende"}, {Name: "x", Kind: "smoke"},
	} {
		_, err := check.Run(t.Context(), c, check.Deps{})
		require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	}
}

func TestSQLChecksAskTheDatabaseAndChangeNothing(t *testing.T) {
	server := lab.StartPostgres(t, lab.PostgresOptions{})
	secret := func(system.SecretRef) ([]byte, error) { return []byte(server.DSN), nil }
	deps := check.Deps{Databases: []system.Database{{Name: "frende", Database: "template1", Connection: "env:DSN"}}, Secret: secret}
	ask := func(sql string) (check.Result, error) {
		return check.Run(t.Context(), system.Check{Name: "rows", Kind: system.CheckSQL, Database: "frende", SQL: sql}, deps)
	}
	result, err := ask("SELECT current_database() = 'template1' AND inet_server_addr() IS NOT NULL")
	require.NoError(t, err)
	require.Equal(t, "true", result.Message)
	for sql, seen := range map[string]string{
		"SELECT 1 > 2":                          "it gave false, not true",
		"SELECT 42":                             "it gave 42, not true",
		"SELECT NULL::bool":                     "it gave <nil>, not true",
		"SELECT true WHERE false":               "no row",
		"SELECT count(*) > 0 FROM people":       `relation "people" does not exist (SQLSTATE 42P01)`,
		"CREATE TABLE people (id int)":          "cannot execute CREATE TABLE in a read-only transaction (SQLSTATE 25006)",
		"SELECT true FROM generate_series(1,2)": "too many rows in result set",
	} {
		_, err := ask(sql)
		require.ErrorContains(t, err, seen)
	}

	address, err := url.Parse(server.DSN)
	require.NoError(t, err)
	address.User = url.UserPassword("postgres", "hunter2-wrong")
	deps.Secret = func(system.SecretRef) ([]byte, error) { return []byte(address.String()), nil }
	_, err = ask("SELECT true")
	require.True(t, fault.Has(err, fault.CheckFailed), "%v", err)
	require.NotContains(t, err.Error(), "hunter2")

	deps.Secret = func(system.SecretRef) ([]byte, error) { return []byte("postgres://postgres:hunter2@:bad"), nil }
	_, err = ask("SELECT true")
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.NotContains(t, err.Error(), "hunter2")

	// At a sandbox the address is another than that of the connection string.
	deps.Secret, deps.Databases[0].Host, deps.Databases[0].Port = secret, "127.0.0.1", 1
	_, err = ask("SELECT true")
	require.ErrorContains(t, err, "connection refused")
}

func TestRedisChecksWaitForPong(t *testing.T) {
	server := lab.StartRedis(t, lab.RedisOptions{})
	deps := check.Deps{
		Caches: []system.Cache{{Name: "sessions", Address: server.Address, Password: "env:REDIS"}},
		Secret: func(system.SecretRef) ([]byte, error) { return []byte(server.Password), nil },
	}
	c := system.Check{Name: "sessions", Kind: system.CheckRedis, Cache: "sessions"}
	result, err := check.Run(t.Context(), c, deps)
	require.NoError(t, err)
	require.Equal(t, "PONG", result.Message)

	deps.Secret = func(system.SecretRef) ([]byte, error) { return []byte("hunter2-wrong"), nil }
	_, err = check.Run(t.Context(), c, deps)
	require.True(t, fault.Has(err, fault.CheckFailed), "%v", err)
	require.NotContains(t, err.Error(), "hunter2")

	unset := fault.Newf(fault.SecretUnavailable, "resolve secret", "env:REDIS", "the environment variable is not set")
	deps.Secret = func(system.SecretRef) ([]byte, error) { return nil, unset }
	_, err = check.Run(t.Context(), c, deps)
	require.True(t, errors.Is(err, fault.SecretUnavailable.Err()), "%v", err)
}

// closedPort is an address that nothing listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	require.True(t, strings.HasPrefix(listener.Addr().String(), "127.0.0.1:"))
	return listener.Addr().String()
}
