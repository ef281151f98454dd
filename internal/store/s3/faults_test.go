package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
)

// behindProxy gives a store whose requests pass through a proxy, and one beside it.
func behindProxy(t *testing.T) (*proxy, *s3.Store, *s3.Store) {
	t.Helper()
	server := serve(t)
	p := newProxy(t, server.Endpoint)
	return p, open(t, configured(server, p.URL)), open(t, configured(server, server.Endpoint))
}

func content(size int, seed uint64) []byte {
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = source.Read(body) // never fails
	return body
}

func readAll(ctx context.Context, s *s3.Store, key string) ([]byte, error) {
	body, _, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	whole, err := io.ReadAll(body)
	if closing := body.Close(); err == nil {
		err = closing
	}
	return whole, err
}

// TestATakenKeyIsToldThoughTheConnectionBreaks is what an S3 server does that answers
// before it has read the body, and closes: the answer is lost with the connection.
func TestATakenKeyIsToldThoughTheConnectionBreaks(t *testing.T) {
	p, s, beside := behindProxy(t)
	_, err := beside.Put(t.Context(), "once", []byte("first"), store.PutOptions{})
	require.NoError(t, err)
	p.strike(http.MethodPut, reset)
	_, err = s.Put(t.Context(), "once", content(300_000, 1), store.PutOptions{IfNoneMatch: true})
	require.True(t, fault.Has(err, fault.ObjectExists), "%v", err)
	require.Less(t, p.count(), 6, "the key is looked for, and not tried again to the end")

	p.strike(http.MethodPut, reset, reset)
	_, err = s.Put(t.Context(), "free", content(300_000, 2), store.PutOptions{IfNoneMatch: true})
	require.NoError(t, err)
	got, err := readAll(t.Context(), beside, "free")
	require.NoError(t, err)
	require.True(t, bytes.Equal(content(300_000, 2), got))
}

func TestErrorsThatPassAreTriedAgain(t *testing.T) {
	p, s, _ := behindProxy(t)
	body := content(300_000, 1)
	for i, bad := range []func(*proxy, http.ResponseWriter, *http.Request){
		answer(500, "InternalError"), answer(503, "ServiceUnavailable"), answer(503, "SlowDown"), answer(429, "TooManyRequests"),
		page(502), reset, hang, answer(409, "ConditionalRequestConflict"), page(200),
	} {
		for _, row := range []int{1, 3, 5} {
			if row > 1 && i == 6 {
				continue // each hang takes the whole stall time
			}
			key := fmt.Sprintf("passing/%d-%d", i, row)
			for range row {
				p.strike(http.MethodPut, bad)
			}
			_, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
			require.NoError(t, err, key)
			if i < 7 {
				for range row {
					p.strike(http.MethodGet, bad)
				}
			}
			got, err := readAll(t.Context(), s, key)
			require.NoError(t, err, key)
			require.True(t, bytes.Equal(body, got), key)
		}
	}
}

func TestErrorsThatLastEndAsUnavailableWithinTheBudget(t *testing.T) {
	p, s, beside := behindProxy(t)
	for i, bad := range []func(*proxy, http.ResponseWriter, *http.Request){
		answer(500, "InternalError"), answer(503, "SlowDown"), page(503), reset, answer(409, "ConditionalRequestConflict"), page(200),
	} {
		for range 6 {
			p.strike(http.MethodPut, bad)
		}
		key := fmt.Sprint("lasting/", i)
		before := p.count()
		_, err := s.Put(t.Context(), key, content(1000, 2), store.PutOptions{IfNoneMatch: true})
		require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
		require.Contains(t, err.Error(), key)
		require.NotContains(t, err.Error(), "http://")
		asked := 6
		if i == 3 { // after each try whose connection broke off the key is looked for
			asked = 11
		}
		require.InDelta(t, before+asked, p.count(), float64(asked-6)/5, "%d", i)
		_, err = beside.Head(t.Context(), key)
		require.Equal(t, fault.ObjectMissing, fault.KindOf(err))
	}
}

func TestRefusalsAreNotTriedAgain(t *testing.T) {
	p, s, _ := behindProxy(t)
	for code, want := range map[string]struct {
		status int
		kind   fault.Kind
		hint   string
	}{
		"AccessDenied":          {403, fault.StorageDenied, "read-only"},
		"SignatureDoesNotMatch": {403, fault.StorageDenied, "secret_key"},
		"RequestTimeTooSkewed":  {403, fault.StorageDenied, "clock"},
		"NoSuchBucket":          {404, fault.StorageMissing, "create the bucket"},
		"PermanentRedirect":     {301, fault.StorageMissing, "region"},
		"NotImplemented":        {501, fault.Unsupported, "If-None-Match"},
		"MethodNotAllowed":      {405, fault.StorageDenied, ""},
		"PreconditionFailed":    {412, fault.ObjectExists, ""},
	} {
		p.strike(http.MethodPut, answer(want.status, code))
		before := p.count()
		_, err := s.Put(t.Context(), "refused", []byte("x"), store.PutOptions{IfNoneMatch: true})
		require.Equal(t, want.kind, fault.KindOf(err), "%s: %v", code, err)
		require.Contains(t, fault.HintOf(err), want.hint)
		require.Contains(t, err.Error(), "primary (s3://backups in us-east-1)")
		require.Equal(t, before+1, p.count(), code)
	}
}

func TestSilentStreamIsGivenUpAndResumed(t *testing.T) {
	p, s, beside := behindProxy(t)
	body := content(1<<20, 4)
	_, err := beside.Put(t.Context(), "silent", body, store.PutOptions{})
	require.NoError(t, err)
	p.strike(http.MethodGet, silence(1000))
	got, err := readAll(t.Context(), s, "silent")
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
}

func TestStreamThatNeverAdvancesEndsAsUnavailable(t *testing.T) {
	p, s, beside := behindProxy(t)
	_, err := beside.Put(t.Context(), "stuck", content(100_000, 5), store.PutOptions{})
	require.NoError(t, err)
	p.strike(http.MethodGet, cutAt(70_000))
	for range 6 {
		p.strike(http.MethodGet, cutAt(0))
	}
	got, err := readAll(t.Context(), s, "stuck")
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
	require.Less(t, len(got), 100_000)
	p.forget()
}

func TestObjectReplacedWhileItIsReadIsNotSpliced(t *testing.T) {
	p, s, beside := behindProxy(t)
	_, err := beside.Put(t.Context(), "spliced", content(1<<20, 6), store.PutOptions{})
	require.NoError(t, err)
	p.strike(http.MethodGet, cutAt(500_000))
	body, _, err := s.Get(t.Context(), "spliced")
	require.NoError(t, err)
	_, err = beside.Put(t.Context(), "spliced", content(1<<20, 7), store.PutOptions{})
	require.NoError(t, err)
	_, err = io.ReadAll(body)
	require.Equal(t, fault.IntegrityError, fault.KindOf(err), "%v", err)
	require.NoError(t, body.Close())
}

func TestEndedContextEndsARead(t *testing.T) {
	server := serve(t)
	p := newProxy(t, server.Endpoint)
	c := configured(server, p.URL)
	c.Stall = time.Minute
	s, beside := open(t, c), open(t, configured(server, server.Endpoint))
	_, err := beside.Put(t.Context(), "ended", content(1<<20, 8), store.PutOptions{})
	require.NoError(t, err)
	p.strike(http.MethodGet, silence(1000))
	ctx, cancel := context.WithCancel(t.Context())
	body, _, err := s.Get(ctx, "ended")
	require.NoError(t, err)
	_, err = io.ReadFull(body, make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	started := time.Now()
	_, err = io.ReadAll(body)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(started), c.Stall/2)
	require.NoError(t, body.Close())
}
