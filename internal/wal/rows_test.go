package wal_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/wal"
)

// branch is an archive of made-up segments: 3 to last on timeline 1, and, when
// fork is not 0, from fork on to last on timeline 2, too.
type branch struct {
	store   *mem.Store
	archive *wal.Archive
	dir     string
	last    uint64
	fork    uint64
}

func grow(t *testing.T, random *rand.Rand) *branch {
	t.Helper()
	b := &branch{store: mem.New("memory"), dir: dataDir(t, system), last: 5 + random.Uint64N(6)}
	b.archive = newArchive(t, b.store, nil)
	for n := uint64(3); n <= b.last; n++ {
		push(t, b.archive, b.dir, 1, n)
	}
	if random.IntN(2) == 0 {
		b.fork = 4 + random.Uint64N(b.last-4)
		for n := b.fork; n <= b.last; n++ {
			push(t, b.archive, b.dir, 2, n)
		}
		pushHistory(t, b.archive, b.dir, 2, "1\t"+lsn(b.fork)+"\tno recovery target specified\n")
	}
	return b
}

// way is the names that a recovery from segment 3 replays, in their order.
func (b *branch) way() []string {
	var names []string
	for n := uint64(3); n <= b.last; n++ {
		timeline := uint32(1)
		if b.fork != 0 && n >= b.fork {
			timeline = 2
		}
		names = append(names, name(timeline, n))
	}
	return names
}

// walks replays the pinned way to its end and wants every name on it, and
// nothing but the end behind it.
func (b *branch) walks(t *testing.T) {
	t.Helper()
	pin, err := b.archive.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	way, dst := b.way(), filepath.Join(t.TempDir(), "RECOVERYXLOG")
	require.Equal(t, way[len(way)-1], pin.End)
	for _, file := range way {
		require.NoError(t, b.archive.Fetch(t.Context(), pin, file, dst), file)
	}
	timeline := uint32(1)
	if b.fork != 0 {
		timeline = 2
	}
	require.Equal(t, 1, wal.ExitCode(b.archive.Fetch(t.Context(), pin, name(timeline, b.last+1), dst)))
}

// Row 11 of the reliability table: what is wrong with an archive is named, and
// a recovery never takes a shorter way for it.
func TestWhatIsWrongWithAnArchiveIsNamed(t *testing.T) {
	torture.Row(t, 11, 28, 260, func(t *testing.T, n int, random *rand.Rand) {
		b := grow(t, random)
		way := b.way()
		chosen := random.IntN(len(way))
		switch n % 7 {
		case 0: // a segment is missing when the way is planned
			require.NoError(t, b.store.Delete(t.Context(), objectOf(way[chosen]), ""))
			pin, err := b.archive.Pin(t.Context(), from(1, 3))
			if chosen == len(way)-1 && err == nil { // the end of an archive is no hole
				require.Equal(t, way[chosen-1], pin.End)
				return
			}
			kindIs(t, fault.WALGap, err)
			require.ErrorContains(t, err, objectOf(way[chosen]))
		case 1: // a segment is lost behind the plan's back
			pin, err := b.archive.Pin(t.Context(), from(1, 3))
			require.NoError(t, err)
			require.NoError(t, b.store.Delete(t.Context(), objectOf(way[chosen]), ""))
			err = b.archive.Fetch(t.Context(), pin, way[chosen], filepath.Join(t.TempDir(), "x"))
			kindIs(t, fault.WALGap, err)
			require.Equal(t, 126, wal.ExitCode(err))
		case 2: // the same segment again
			push(t, b.archive, b.dir, 1, 3+random.Uint64N(b.last-2))
			b.walks(t)
		case 3: // the same name with another content
			number := 3 + random.Uint64N(b.last-2)
			path := write(t, b.dir, name(1, number), segment(name(1, number), system, byte(100+random.IntN(100))))
			err := b.archive.Push(t.Context(), path, wal.PushOptions{DataDir: b.dir})
			kindIs(t, fault.WALConflict, err)
			require.ErrorContains(t, err, name(1, number))
			require.LessOrEqual(t, fault.ExitCode(err), 125)
			b.walks(t)
		case 4: // a fork whose history is lost
			if b.fork == 0 {
				b.fork = b.last
				push(t, b.archive, b.dir, 2, b.last)
			} else {
				require.NoError(t, b.store.Delete(t.Context(), objectOf("00000002.history"), ""))
			}
			_, err := b.archive.Pin(t.Context(), from(1, 3))
			kindIs(t, fault.WALGap, err)
			require.ErrorContains(t, err, objectOf("00000002.history"))
		case 5: // a fork is followed, and its parent is not behind it
			b.walks(t)
			if b.fork == 0 {
				return
			}
			pin, err := b.archive.Pin(t.Context(), from(1, 3))
			require.NoError(t, err)
			behind := b.fork + random.Uint64N(b.last-b.fork+1)
			require.False(t, slices.Contains(way, name(1, behind)))
			require.Equal(t, 126, wal.ExitCode(b.archive.Fetch(t.Context(), pin, name(1, behind), filepath.Join(t.TempDir(), "x"))))
		case 6: // another cluster's segment under the same name
			foreign := "7319874613240918274"
			path := write(t, b.dir, name(1, b.last+1), segment(name(1, b.last+1), foreign, 1))
			kindIs(t, fault.ForeignCluster, b.archive.Push(t.Context(), path, wal.PushOptions{DataDir: b.dir}))
			elsewhere := from(1, 3)
			elsewhere.SystemID = foreign
			_, err := b.archive.Pin(t.Context(), elsewhere)
			kindIs(t, fault.WALGap, err)
			b.walks(t)
		}
	})
}
