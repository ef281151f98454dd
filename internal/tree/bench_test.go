package tree_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/tree"
)

// BenchmarkExtraction restores many small and a few large files, as uploads and
// a database are, with everything brought to the disk.
func BenchmarkExtraction(b *testing.B) {
	for _, shape := range []struct {
		name        string
		files, size int
	}{{"20000 files of 40 KiB", 20_000, 40 << 10}, {"8 files of 128 MiB", 8, 128 << 20}} {
		b.Run(shape.name, func(b *testing.B) {
			const piece = 16 << 20
			data := make([]byte, piece)
			fill(rand.New(rand.NewPCG(1, 1)), data)
			total := shape.files * shape.size
			b.SetBytes(int64(total))
			for b.Loop() {
				base := b.TempDir()
				c := tree.Config{Root: base + "/staging", Journal: base + "/journal"}
				for i := range shape.files {
					c.Entries = append(c.Entries, tree.Entry{
						Path: fmt.Sprintf("uploads/%02x/%d.jpg", i%64, i), Kind: tree.File, Mode: 0o644,
						Offset: int64(i * shape.size), Size: int64(shape.size),
					})
				}
				x, err := tree.NewExtraction(c)
				require.NoError(b, err)
				var group errgroup.Group
				group.SetLimit(4)
				for i := range (total + piece - 1) / piece {
					group.Go(func() error { return x.Write(i, int64(i*piece), data[:min(piece, total-i*piece)]) })
				}
				require.NoError(b, group.Wait())
				require.NoError(b, x.Finish(b.Context()))
				require.NoError(b, x.Close())
			}
		})
	}
}

// BenchmarkTable measures the table alone: a million entries must not cost minutes.
func BenchmarkTable(b *testing.B) {
	entries := make([]tree.Entry, 100_000)
	for i := range entries {
		entries[i] = tree.Entry{Path: fmt.Sprintf("uploads/%02x/%d.jpg", i%64, i), Kind: tree.File, Mode: 0o644, Owner: "www-data", Size: 1, Offset: int64(i), Digest: make([]byte, 32)}
	}
	for b.Loop() {
		var table bytes.Buffer
		require.NoError(b, tree.EncodeTable(&table, entries))
		_, err := tree.DecodeTable(&table)
		require.NoError(b, err)
	}
}
