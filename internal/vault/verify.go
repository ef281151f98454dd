package vault

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/store"
)

// Verify proves the backup at level L1: every byte of every object that it
// needs is read from the primary store and authenticated, the manifest
// included. The replica never steps in: to prove that one, verify WithStores of
// it. progress (may be nil) is told the stored bytes that are done and in all.
func (b *Backup) Verify(ctx context.Context, progress func(done, total int64)) error {
	primary := b.v.WithStores(b.v.cfg.Store, nil)
	m, err := primary.readManifest(ctx, b.manifest.Key)
	if err != nil {
		return err
	}
	needed := map[int]bool{}
	var total, frame, packed int64
	for _, s := range m.Streams {
		for _, e := range s.Extents {
			o := &m.Objects[e.Object]
			if !needed[e.Object] {
				total += o.Length
			}
			needed[e.Object] = true
			frame, packed = max(frame, int64(o.FrameSize)), max(packed, o.packedCost())
		}
	}
	part, err := newShare(ctx, b.v.cfg.Budget, frame+packed, b.v.cfg.Parallel)
	if err != nil {
		return err
	}
	defer part.close()
	group, groupCtx := errgroup.WithContext(ctx)
	table := (&Backup{v: primary, manifest: m}).macsTable()
	var mu sync.Mutex
	var done int64
	for i := range m.Objects {
		if !needed[i] {
			continue
		}
		got, err := part.take(groupCtx, frame+packed, false)
		if err != nil {
			break // the group has the reason, or ctx
		}
		group.Go(func() error {
			defer part.give(got)
			buffer := b.v.cfg.Budget.buffer(int(frame))
			defer b.v.cfg.Budget.recycle(buffer)
			macs, err := primary.prove(groupCtx, &m.Objects[i], *buffer)
			if err == nil {
				err = table.agrees(groupCtx, &m.Objects[i], macs)
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done += m.Objects[i].Length
			if progress != nil {
				progress(done, total)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// prove reads a whole object, frame by frame, and gives the MACs of its index.
func (v *Vault) prove(ctx context.Context, o *Object, frame []byte) ([][frameMACSize]byte, error) {
	r := v.openRun(ctx, o, 0, o.frames())
	r.sources, r.prove = []store.Store{v.cfg.Store}, true
	defer r.close()
	for {
		if _, err := r.next(frame); errors.Is(err, errEnd) {
			return r.macs, nil
		} else if err != nil {
			return nil, err
		}
	}
}
