package vault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
)

// TestNothingWaitsForEverHoweverLittleMemoryThereIs has four backups write
// twelve streams each from one goroutine, interleaved, while readers in order
// feed further backups and chunks are read in parallel: all in one budget in
// which their chunks would not fit at once.
func TestNothingWaitsForEverHoweverLittleMemoryThereIs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	budget := NewBudget(1200 << 10)
	v := small(t, func(c *Config) { c.Budget, c.ChunkSize, c.FrameSize = budget, 64<<10, 1<<10 })
	sources := map[string][]byte{}
	for i := range 6 {
		sources[fmt.Sprint("s", i)] = noise(uint64(i), 400_000)
	}
	m := backUp(t, v, testIntent("none"), sources)
	b := open(t, v, m.Key)

	group, ctx := errgroup.WithContext(ctx)
	for run := range 4 {
		group.Go(func() error { return interleaved(ctx, v, run) })
		group.Go(func() error { return copied(ctx, v, b, 10+run) })
		group.Go(func() error {
			return b.ReadChunks(ctx, fmt.Sprint("s", run), nil, func(_ context.Context, c Chunk) error {
				if !bytes.Equal(sources[fmt.Sprint("s", run)][c.Offset:][:len(c.Data)], c.Data) {
					return io.ErrUnexpectedEOF
				}
				return nil
			})
		})
		group.Go(func() error { return b.Verify(ctx, nil) })
	}
	require.NoError(t, group.Wait())
	require.Zero(t, budget.Used())
	require.LessOrEqual(t, budget.Peak(), budget.Limit())
	require.Greater(t, budget.Peak(), budget.Limit()/2)
	for run := range 4 {
		copied := open(t, v, runIntent(10+run).Key())
		for name, data := range sources {
			got, err := readStream(t.Context(), copied, name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
		}
	}
}

// A process that waits for one more stream holds the others and does nothing
// with them: what they have beyond their floors is not theirs to keep.
func TestNoStreamWaitsForMemoryThatLiesIdle(t *testing.T) {
	const streams = 20
	tiny := func(t *testing.T) (*Vault, *Budget) {
		budget := NewBudget(1200 << 10)
		return small(t, func(c *Config) { c.Budget, c.ChunkSize, c.FrameSize = budget, 64<<10, 1<<10 }), budget
	}
	t.Run("of streams that are read ahead", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		v, budget := tiny(t)
		source := noise(1, 400_000)
		b := open(t, v, backUp(t, v, testIntent("none"), map[string][]byte{"source": source}).Key)
		var readers []io.ReadCloser
		var beginnings [][]byte
		for budget.tryExtra(64 << 10) {
			budget.releaseExtra(64 << 10)
			r, err := b.ReadRange(ctx, "source", 1234, 390_000)
			require.NoError(t, err)
			defer func() { require.NoError(t, r.Close()) }()
			beginning := make([]byte, 777)
			_, err = io.ReadFull(r, beginning)
			require.NoError(t, err)
			readers, beginnings = append(readers, r), append(beginnings, beginning)
		}
		w, err := v.Begin(ctx, runIntent(1))
		require.NoError(t, err)
		defer func() { require.NoError(t, w.Close()) }()
		for i := range streams {
			_, err := w.Create(ctx, fmt.Sprint(i))
			require.NoError(t, err, "stream %d waits for what lies in readers", i)
		}
		for i, r := range readers {
			rest, err := io.ReadAll(r)
			require.NoError(t, err)
			require.True(t, bytes.Equal(source[1234:391_234], append(beginnings[i], rest...)), "what was lent is read again, from where it was")
		}
	})
	t.Run("of streams that are written", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		v, budget := tiny(t)
		w, err := v.Begin(ctx, runIntent(1))
		require.NoError(t, err)
		defer func() { require.NoError(t, w.Close()) }()
		pieces := [][]byte{noise(1, 40_000), noise(2, 77_777)}
		var opened []*StreamWriter
		create := func() {
			s, err := w.Create(ctx, fmt.Sprint(len(opened)))
			require.NoError(t, err, "stream %d waits for what is gathered in others", len(opened))
			_, err = s.Write(pieces[0])
			require.NoError(t, err)
			opened = append(opened, s)
		}
		for budget.tryExtra(80 << 10) {
			budget.releaseExtra(80 << 10)
			create()
		}
		for range streams {
			create()
		}
		for _, s := range opened {
			_, err := s.Write(pieces[1])
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}
		_, err = w.Commit(ctx, nil)
		require.NoError(t, err)
		b := open(t, v, runIntent(1).Key())
		for i := range opened {
			got, err := readStream(ctx, b, fmt.Sprint(i))
			require.NoError(t, err)
			require.True(t, bytes.Equal(bytes.Join(pieces, nil), got))
		}
		require.Zero(t, budget.Used())
	})
}

func runIntent(run int) Intent {
	in := testIntent("none")
	in.RunID, in.At = fmt.Sprint("run/", run), in.At.Add(time.Duration(run)*time.Hour)
	return in
}

// interleaved writes to twelve open streams in turn.
func interleaved(ctx context.Context, v *Vault, run int) error {
	w, err := v.Begin(ctx, runIntent(run+1))
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	var streams []*StreamWriter
	for i := range 12 {
		s, err := w.Create(ctx, fmt.Sprint(i))
		if err != nil {
			return err
		}
		streams = append(streams, s)
	}
	piece := noise(1, 9_999)
	for range 30 {
		for _, s := range streams {
			if _, err := s.Write(piece); err != nil {
				return err
			}
		}
	}
	for _, s := range streams {
		if err := s.Close(); err != nil {
			return err
		}
	}
	_, err = w.Commit(ctx, nil)
	return err
}

// copied reads six streams that are open at once into a new backup.
func copied(ctx context.Context, v *Vault, from *Backup, run int) error {
	w, err := v.Begin(ctx, runIntent(run))
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	var readers []io.ReadCloser
	for _, s := range from.Manifest().Streams {
		r, err := from.Open(ctx, s.Name)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		if _, err := r.Read(make([]byte, 0)); err != nil {
			return err
		}
		readers = append(readers, r)
	}
	for i, s := range from.Manifest().Streams {
		out, err := w.Create(ctx, s.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, readers[i]); err != nil {
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
	}
	_, err = w.Commit(ctx, nil)
	return err
}

func TestMoreThanTheWholeBudgetIsRefusedAtOnce(t *testing.T) {
	b := NewBudget(100)
	requireFault(t, b.Acquire(t.Context(), 101), fault.ConfigInvalid, "101 bytes")
	require.NoError(t, b.Acquire(t.Context(), 100))
	require.EqualValues(t, 100, b.Used())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Acquire(ctx, 1), context.Canceled)
	b.Release(100)
	require.Zero(t, b.Used())
}

func TestExtrasLeaveTheLastQuarterToFloors(t *testing.T) {
	b := NewBudget(100)
	require.True(t, b.tryExtra(75))
	require.False(t, b.tryExtra(1))
	require.NoError(t, b.Acquire(t.Context(), 25))
	b.Release(25)
	b.releaseExtra(75)
	require.True(t, b.tryExtra(75))
}

func TestReadingKeepsToItsRate(t *testing.T) {
	l := newLimiter(1 << 20)
	start := time.Now()
	for range 5 {
		require.NoError(t, l.wait(t.Context(), 20<<10))
	}
	require.GreaterOrEqual(t, time.Since(start), 75*time.Millisecond) // the last 20 KiB are not waited for
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, l.wait(t.Context(), 1<<30))
	require.ErrorIs(t, l.wait(ctx, 1), context.Canceled)
	require.NoError(t, newLimiter(0).wait(t.Context(), 1<<40))
}

func TestWhatMayNotWaitTakesThePlaceOfIdleBuffers(t *testing.T) {
	b := NewBudget(1 << 20)
	require.NoError(t, b.Acquire(t.Context(), 512<<10))
	b.recycle(b.buffer(512 << 10))
	b.Release(512 << 10)

	body := b.Beside(768 << 10)
	require.Equal(t, 768<<10, len(body))
	require.EqualValues(t, 768<<10, b.Used())
	require.Zero(t, cap(b.idle.Take(512<<10)), "with it they would be more than the limit")
	require.NoError(t, b.Acquire(t.Context(), 1<<20), "nobody waits for it, nor does it for anybody")
	b.Release(1 << 20)

	b.Return(body[:1])
	require.Zero(t, b.Used())
	require.Equal(t, 768<<10, cap(b.idle.Take(768<<10)))
}
