package vault

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Likeness is a place that may hold the bytes of a stream. Its methods are called by
// several goroutines at once.
type Likeness interface {
	// Read fills dst with what may be the bytes at an offset of the stream, and says
	// whether it has any.
	Read(offset int64, dst []byte) bool

	// Told hears of each part of the stream once, after the last Read of it: same says that what Read
	// gave is the backup's. An error ends the comparison.
	Told(from, to int64, same bool) error
}

// compareBuffer is how much is read at once: it is hashed while it lies in the cache
// of its core.
const compareBuffer = 256 << 10

// compareAtOnce is the most that one goroutine compares before it takes the next part: a
// large file is shared out to all.
const compareAtOnce = 4 << 20

// Compare holds all of a stream against a place that may have the same, frame by
// frame, on all cores; of the store it reads the frames' MACs alone. What has no MAC, or one that can't be
// read, is not the same. The first error ends it: one of Told, or of ctx. What is not told of then, nobody may take for anything.
func (b *Backup) Compare(ctx context.Context, stream string, place Likeness) error {
	s, err := b.manifest.Stream(stream)
	if err != nil {
		return err
	}
	size := int64(compareBuffer)
	for _, e := range s.Extents {
		size = max(size, rounded(int64(b.object(e).FrameSize)))
	}
	memory, err := newShare(ctx, b.v.cfg.Budget, size, runtime.GOMAXPROCS(0)+1) // one may wait for an index
	if err != nil {
		return err
	}
	defer memory.close()
	group, groupCtx := errgroup.WithContext(ctx)
	var offset int64
	for _, e := range s.Extents {
		if groupCtx.Err() != nil {
			break
		}
		for _, run := range b.cut(e, offset) {
			got, err := memory.take(groupCtx, size, false)
			if err != nil {
				break // the group has the reason, or ctx
			}
			group.Go(func() error {
				defer memory.give(got)
				buffer := b.v.cfg.Budget.buffer(int(size))
				defer b.v.cfg.Budget.recycle(buffer)
				return b.compare(groupCtx, run, place, *buffer)
			})
		}
		offset += e.Bytes
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// placed is a run of frames with its place in a stream.
type placed struct {
	Extent
	at int64
}

// cut cuts an extent into runs of whole frames.
func (b *Backup) cut(e Extent, at int64) (runs []placed) {
	o := b.object(e)
	most := max(1, compareAtOnce/o.FrameSize)
	for done := 0; done < e.Frames; done += most {
		n := min(most, e.Frames-done)
		run := Extent{Object: e.Object, First: e.First + done, Frames: n, Bytes: o.span(e.First+done, n)}
		runs = append(runs, placed{run, at})
		at += run.Bytes
	}
	return runs
}

// compare compares one run, and tells of it.
func (b *Backup) compare(ctx context.Context, run placed, place Likeness, buffer []byte) error {
	o := b.object(run.Extent)
	var macs [][frameMACSize]byte
	if o.MACs {
		var err error
		if macs, err = b.own().macs(ctx, run.Object); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if macs == nil {
		return place.Told(run.at, run.at+run.Bytes, false)
	}
	key, err := b.v.readKey(ctx, o.KeyID)
	if err != nil {
		return err
	}
	at := run.at
	some := max(1, len(buffer)/o.FrameSize)
	for done := 0; done < run.Frames; done += some {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		first, n := run.First+done, min(some, run.Frames-done)
		data := buffer[:o.span(first, n)]
		whole := place.Read(at, data)
		for i := range n {
			frame := frameOf(o, data, i)
			there := whole || n > 1 && place.Read(at, frame) // what one lacks, the next one may have
			same := there && version(o.Version).frameMAC(key, frame) == macs[first+i]
			if err := place.Told(at, at+int64(len(frame)), same); err != nil {
				return err
			}
			at += int64(len(frame))
		}
	}
	return nil
}
