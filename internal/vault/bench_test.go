package vault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

// rows is bytes like those of a table: LIFEBOAT_BENCH_FILE when it is set, else generated.
func rows(b *testing.B, n int) []byte {
	if path := os.Getenv("LIFEBOAT_BENCH_FILE"); path != "" {
		data, err := os.ReadFile(path)
		require.NoError(b, err)
		return data[:min(n, len(data))]
	}
	source := rand.New(rand.NewPCG(1, 1))
	words := []string{"hiking", "coffee", "berlin", "music", "dogs", "travel", "cooking", "films", "running", "books"}
	out := make([]byte, 0, n+256)
	for id := 0; len(out) < n; id++ {
		out = fmt.Appendf(out, `%08d {"name":"user%d","age":%d,"likes":["%s","%s"],"token":"%016x","at":"2024-01-%02dT%02d:%02d:%02dZ"}`,
			id, source.IntN(600_000), 18+source.IntN(60), words[source.IntN(10)], words[source.IntN(10)], source.Uint64(),
			1+source.IntN(28), source.IntN(24), source.IntN(60), source.IntN(60))
	}
	return out[:n]
}

// discard keeps no chunk, so that a benchmark of writing measures no copies of the store.
type discard struct{ store.Store }

func (s discard) Put(ctx context.Context, key string, body []byte, o store.PutOptions) (store.Info, error) {
	if len(body) > 64<<10 {
		return store.Info{Key: key, Size: int64(len(body))}, nil
	}
	return s.Store.Put(ctx, key, body, o)
}

func benchVault(b *testing.B, s store.Store, frame int) *Vault {
	v, err := New(Config{Store: s, Keys: testRing(b), Budget: NewBudget(192 << 20), FrameSize: frame})
	require.NoError(b, err)
	return v
}

func frameSizes(b *testing.B, run func(b *testing.B, frame int)) {
	for _, frame := range []int{256 << 10, 512 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("frame=%dKiB", frame>>10), func(b *testing.B) { run(b, frame) })
	}
}

func BenchmarkWrite(b *testing.B) {
	data := rows(b, 512<<20)
	frameSizes(b, func(b *testing.B, frame int) {
		v := benchVault(b, discard{mem.New("bench")}, frame)
		b.SetBytes(int64(len(data)))
		var m *Manifest
		for n := 0; b.Loop(); n++ {
			in := testIntent("zstd")
			in.At = in.At.Add(time.Duration(n) * time.Second)
			m = backUp(b, v, in, map[string][]byte{"s": data})
		}
		b.ReportMetric(float64(m.Stored)/float64(m.Bytes), "stored/byte")
		b.ReportMetric(float64(v.cfg.Budget.Peak()>>20), "peak-MiB")
	})
}

func BenchmarkReadChunks(b *testing.B) {
	data := rows(b, 512<<20)
	frameSizes(b, func(b *testing.B, frame int) {
		v := benchVault(b, mem.New("bench"), frame)
		m := backUp(b, v, testIntent("zstd"), map[string][]byte{"s": data})
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			require.NoError(b, open(b, v, m.Key).ReadChunks(b.Context(), "s", nil, func(context.Context, Chunk) error { return nil }))
		}
		b.ReportMetric(float64(v.cfg.Budget.Peak()>>20), "peak-MiB")
	})
}
