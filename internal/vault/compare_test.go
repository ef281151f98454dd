package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/store/mem"
)

// likeness is a nearer place that notes what it is told.
type likeness struct {
	giver
	mu   sync.Mutex
	told []byte // by byte of the stream: 0 not yet, 's' same, 'd' different, '!' more than once
	fail error
}

func (l *likeness) Told(from, to int64, same bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := from; i < to; i++ {
		switch {
		case l.told[i] != 0:
			l.told[i] = '!'
		case same:
			l.told[i] = 's'
		default:
			l.told[i] = 'd'
		}
	}
	return l.fail
}

func holding(whole []byte) giver {
	return func(offset int64, dst []byte) bool { return copy(dst, whole[offset:]) == len(dst) }
}

// compare holds a stream against what a nearer place gives, and gives what that was told.
func compare(t *testing.T, b *Backup, size int, give giver) []byte {
	t.Helper()
	l := &likeness{giver: give, told: make([]byte, size)}
	require.NoError(t, b.Compare(t.Context(), "base.tar", l))
	require.Equal(t, -1, bytes.IndexByte(l.told, 0), "each byte is told of")
	require.Equal(t, -1, bytes.IndexByte(l.told, '!'), "once")
	return l.told
}

func TestWhatIsComparedIsTheSameOnlyFrameByFrame(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			v := small(t, func(c *Config) { c.ChunkSize = 8 << 10 })
			c := newCluster(seed)
			first, starts, _ := c.next(t, v, 0, "", nil)
			c.change()
			m, _, whole := c.next(t, v, 1, first.Key, starts)
			b := open(t, v, m.Key)
			require.NotContains(t, compare(t, b, len(whole), holding(whole)), byte('d'))
			require.NotContains(t, compare(t, b, len(whole), func(int64, []byte) bool { return false }), byte('s'))

			damaged := slices.Clone(whole)
			for at := 100; at < len(damaged); at += 5 << 10 {
				damaged[at] ^= 1
			}
			told := compare(t, b, len(whole), holding(damaged))
			require.Contains(t, told, byte('s'))
			for at := range told {
				require.True(t, damaged[at] == whole[at] || told[at] == 'd', "byte %d differs", at)
			}

			// What one frame lacks, its neighbours may have.
			told = compare(t, b, len(whole), func(offset int64, dst []byte) bool {
				lacks := offset <= 3000 && offset+int64(len(dst)) > 3000
				return !lacks && holding(whole)(offset, dst)
			})
			require.Equal(t, byte('d'), told[3000])
			next := bytes.IndexByte(told[3000:], 's')
			require.Positive(t, next)
			require.LessOrEqual(t, next, 1<<10)
		})
	}
}

func TestALargeStreamIsComparedInPieces(t *testing.T) {
	v := small(t, nil)
	w, err := v.Begin(t.Context(), sharedIntent(0))
	require.NoError(t, err)
	s, err := w.Create(t.Context(), "base.tar")
	require.NoError(t, err)
	body := noise(1, 3*compareAtOnce+1000)
	_, err = s.Write(body)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	m, err := w.Commit(t.Context(), nil)
	require.NoError(t, err)
	b := open(t, v, m.Key)
	for _, wrong := range []int{-1, 0, compareAtOnce, len(body) - 1} {
		held := slices.Clone(body)
		if wrong >= 0 {
			held[wrong] ^= 1
		}
		told := compare(t, b, len(body), holding(held))
		different := bytes.Count(told, []byte("d"))
		require.LessOrEqual(t, different, 1<<10, "one frame at most")
		require.Equal(t, wrong >= 0, different > 0)
		require.True(t, wrong < 0 || told[wrong] == 'd')
	}
}

func TestAComparisonEndsWithTheFirstError(t *testing.T) {
	primary := mem.New("primary")
	v := small(t, func(c *Config) { c.ChunkSize, c.Store = 8<<10, primary })
	m, _, whole := newCluster(2).next(t, v, 0, "", nil)
	b := open(t, v, m.Key)
	wrong := errors.New("wrong")
	require.ErrorIs(t, b.Compare(t.Context(), "base.tar", &likeness{giver: holding(whole), told: make([]byte, len(whole)), fail: wrong}), wrong)
	require.Error(t, b.Compare(t.Context(), "none", &likeness{}))

	ctx, cancel := context.WithCancel(t.Context())
	stopped := &likeness{told: make([]byte, len(whole)), giver: func(offset int64, dst []byte) bool {
		cancel()
		return holding(whole)(offset, dst)
	}}
	require.ErrorIs(t, b.Compare(ctx, "base.tar", stopped), context.Canceled)

	// Without MACs to compare with, nothing is the same.
	v2 := small(t, func(c *Config) { c.ChunkSize, c.Store, c.Replica = 8<<10, mem.New("broken"), primary })
	unknown, err := v2.Open(t.Context(), m.Key)
	require.NoError(t, err)
	require.NotContains(t, compare(t, unknown, len(whole), holding(whole)), byte('s'))
}
