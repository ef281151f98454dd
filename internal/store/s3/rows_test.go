package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/torture"
)

// tries is how often the configured store tries a request.
const tries = 6

type strike = func(*proxy, http.ResponseWriter, *http.Request)

// repeat queues a fault several times.
func (p *proxy) repeat(method string, times int, do strike) {
	for range times {
		p.strike(method, do)
	}
}

// Row 4 of the reliability table: errors come a few times in a row, and once in
// a while more often than the store tries.
func TestServersErrorsAreOutlastedOrEndAsUnavailable(t *testing.T) {
	p, s, beside := behindProxy(t)
	any := []strike{answer(500, "InternalError"), answer(503, "ServiceUnavailable"), answer(503, "SlowDown"), answer(429, "TooManyRequests"), page(500), page(502), page(503)}
	torture.Row(t, 4, 20, 300, func(t *testing.T, n int, random *rand.Rand) {
		key, body := fmt.Sprint("errors/", n), content(1+random.IntN(300_000), random.Uint64())
		times := 1 + random.IntN(tries)
		for range times {
			p.strike(http.MethodPut, any[random.IntN(len(any))])
		}
		_, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
		if times == tries {
			isUnavailable(t, err, key)
			_, err = beside.Head(t.Context(), key)
			require.Equal(t, fault.ObjectMissing, fault.KindOf(err), "%v", err)
			_, err = s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
		}
		require.NoError(t, err, "after %d errors", times)

		times = 1 + random.IntN(tries)
		for range times {
			p.strike(http.MethodGet, any[random.IntN(len(any))])
		}
		got, err := readAll(t.Context(), s, key)
		if times == tries {
			isUnavailable(t, err, key)
			got, err = readAll(t.Context(), s, key)
		}
		require.NoError(t, err, "after %d errors", times)
		require.True(t, bytes.Equal(body, got))
	})
}

func isUnavailable(t *testing.T, err error, key string) {
	t.Helper()
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, key)
	require.NotEmpty(t, fault.HintOf(err))
	require.NotErrorIs(t, err, io.EOF, "it would look like the end of an object")
}

// Row 5: what networks do. Times are those of the configuration, scaled down: an
// answer is awaited for a quarter of a second, and a partition outlasts the tries
// or does not.
func TestNetworksFaultsAreOutlastedOrEndAsUnavailable(t *testing.T) {
	server := serve(t)
	p := newProxy(t, server.Endpoint)
	c := configured(server, p.URL)
	c.Stall = 250 * time.Millisecond
	s, beside := open(t, c), open(t, configured(server, server.Endpoint))
	kinds := []struct {
		name string
		put  func(random *rand.Rand)
		get  func(random *rand.Rand, size int)
		lost bool // more than the store can outlast, perhaps
	}{
		{
			name: "reset",
			put:  func(random *rand.Rand) { p.repeat(http.MethodPut, 1+random.IntN(tries-1), reset) },
			get: func(random *rand.Rand, size int) {
				p.repeat(http.MethodGet, 1+random.IntN(3), reset)
				p.strike(http.MethodGet, cutAt(random.IntN(size)))
			},
		},
		{
			name: "timeout",
			put:  func(*rand.Rand) { p.strike(http.MethodPut, hang) },
			get: func(random *rand.Rand, size int) {
				p.strike(http.MethodGet, []strike{hang, silence(random.IntN(size))}[random.IntN(2)])
			},
		},
		{
			name: "latency",
			put:  func(random *rand.Rand) { p.strike(http.MethodPut, late(random.IntN(100))) },
			get:  func(random *rand.Rand, _ int) { p.strike(http.MethodGet, late(random.IntN(100))) },
		},
		{
			name: "low bandwidth",
			put:  func(random *rand.Rand) { p.strike(http.MethodPut, late(50+random.IntN(50))) },
			get:  func(random *rand.Rand, size int) { p.strike(http.MethodGet, drip(1+size/(2+random.IntN(20)))) },
		},
		{
			name: "partition",
			put: func(random *rand.Rand) {
				p.repeat(http.MethodPut, 1+random.IntN(2*tries), []strike{reset, lostAck}[random.IntN(2)])
			},
			get:  func(random *rand.Rand, _ int) { p.repeat(http.MethodGet, 1+random.IntN(2*tries), reset) },
			lost: true,
		},
	}
	torture.Row(t, 5, 2*len(kinds), 60*len(kinds), func(t *testing.T, n int, random *rand.Rand) {
		kind := kinds[n%len(kinds)]
		key, body := fmt.Sprint("network/", n), content(1+random.IntN(300_000), random.Uint64())
		kind.put(random)
		_, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
		if fault.Has(err, fault.ObjectExists) {
			p.forget() // a try whose answer was lost had stored it, and that was seen
		} else if p.left() > 0 || kind.lost && fault.Has(err, fault.StorageUnavailable) {
			isUnavailable(t, err, key)
			p.forget() // the partition is over
			_, err = s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
		}
		if !kind.lost || !fault.Has(err, fault.ObjectExists) { // a lost acknowledgement
			require.NoError(t, err, kind.name)
		}

		kind.get(random, len(body))
		got, err := readAll(t.Context(), s, key)
		if kind.lost && err != nil {
			isUnavailable(t, err, key)
			p.forget()
			got, err = readAll(t.Context(), s, key)
		}
		p.forget() // a cut past the end of a resumed range did not strike
		require.NoError(t, err, kind.name)
		require.True(t, bytes.Equal(body, got), kind.name)
		got, err = readAll(t.Context(), beside, key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got), kind.name)
	})
}

// Row 6: bodies that end early, by a broken connection or cleanly.
func TestTruncatedBodiesAreResumedAndNeverAccepted(t *testing.T) {
	p, s, beside := behindProxy(t)
	body := content(1<<20, 3)
	_, err := beside.Put(t.Context(), "long", body, store.PutOptions{})
	require.NoError(t, err)
	torture.Row(t, 6, 40, 300, func(t *testing.T, _ int, random *rand.Rand) {
		for range 1 + random.IntN(4) {
			p.strike(http.MethodGet, cutAt(random.IntN(len(body))))
		}
		got, err := readAll(t.Context(), s, "long")
		p.forget() // cuts past the end of a resumed range did not strike
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got))

		off := int64(random.IntN(len(body) - 1))
		length := 1 + int64(random.IntN(len(body)-int(off)))
		p.strike(http.MethodGet, shorten(random.IntN(int(length))), cutAt(random.IntN(int(length))))
		reader, err := s.GetRange(t.Context(), "long", off, length)
		require.NoError(t, err)
		got, err = io.ReadAll(reader)
		p.forget()
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		require.True(t, bytes.Equal(body[off:off+length], got))
	})
}

// Row 7: an object is there exactly once, whatever was said of it.
func TestObjectIsWrittenExactlyOnce(t *testing.T) {
	server := serve(t)
	p := newProxy(t, server.Endpoint)
	s := open(t, configured(server, p.URL))
	torture.Row(t, 7, 20, 150, func(t *testing.T, n int, random *rand.Rand) {
		key, body := fmt.Sprint("once/", n), content(1+random.IntN(100_000), random.Uint64())
		want := fault.Kind("")
		switch n % 5 {
		case 0: // carried out, and its acknowledgement lost
			p.strike(http.MethodPut, lostAck)
			want = fault.ObjectExists
		case 1: // a good status, and an error in the body
			p.repeat(http.MethodPut, 1+random.IntN(tries-1), page(200))
		case 2:
			p.repeat(http.MethodPut, 1+random.IntN(tries-1), answer(409, "ConditionalRequestConflict"))
		case 3: // a real 412
			_, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
			require.NoError(t, err)
			want = fault.ObjectExists
		case 4: // errors, and then a lost acknowledgement
			p.strike(http.MethodPut, answer(503, "SlowDown"), answer(409, "ConditionalRequestConflict"), lostAck)
			want = fault.ObjectExists
		}
		_, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true})
		require.Equal(t, want, fault.KindOf(err), "%v", err)
		got, err := readAll(t.Context(), s, key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got))
		versions, err := server.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: aws.String(key)})
		require.NoError(t, err)
		written := 0
		for _, version := range versions.Versions {
			if aws.ToString(version.Key) == key {
				written++
			}
		}
		require.Equal(t, 1, written)
	})
}

func TestLostAcknowledgementOfAnUnconditionalWriteIsSuccess(t *testing.T) {
	p, s, _ := behindProxy(t)
	p.strike(http.MethodPut, lostAck)
	_, err := s.Put(t.Context(), "unconditional", []byte("x"), store.PutOptions{})
	require.NoError(t, err)
}

// Row 16: two writers, one key, over networks that fail.
func TestTwoWritersOfOneKeyHaveOneWinner(t *testing.T) {
	p, s, beside := behindProxy(t)
	torture.Row(t, 16, 30, 300, func(t *testing.T, n int, random *rand.Rand) {
		if random.IntN(3) == 0 {
			p.strike(http.MethodPut, answer(503, "SlowDown"))
		}
		key := fmt.Sprint("duel/", n)
		var group errgroup.Group
		outcome := make([]error, 2)
		for i, writer := range []*s3.Store{s, beside} {
			group.Go(func() error {
				_, outcome[i] = writer.Put(t.Context(), key, fmt.Append(nil, "writer ", i), store.PutOptions{IfNoneMatch: true})
				return nil
			})
		}
		require.NoError(t, group.Wait())
		winner := 0
		if outcome[0] != nil {
			winner = 1
		}
		require.NoError(t, outcome[winner])
		require.Equal(t, fault.ObjectExists, fault.KindOf(outcome[1-winner]), "%v", outcome[1-winner])
		got, err := readAll(t.Context(), beside, key)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("writer ", winner), string(got))
		p.forget()
	})
}
