package vault

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Donor is an earlier backup that a new one may share frames with: what has not
// changed since is named, and not stored again. It is read from the primary store
// alone, as the new backup must be whole there. It is safe for concurrent use.
type Donor struct {
	b       *Backup
	streams map[string]*laidOut
	oldest  time.Time // what was stored before is not shared; zero: everything is

	table *macsReader

	mu      sync.Mutex
	indexes map[int]*frameIndexOnce // by the object's place in the manifest
}

// donorIndexes is how many objects' MACs are remembered: with frames of 64 KiB
// in chunks of 16 MiB some 4 KiB for each.
const donorIndexes = 256

// laidOut is a stream with the place of each extent in it.
type laidOut struct {
	extents []Extent
	starts  []int64 // of each extent, ascending
}

type frameIndexOnce struct {
	once sync.Once
	macs [][frameMACSize]byte
	err  error
}

// Donor has a new backup share frames with this one. It was opened whole, in the
// store that the new one is written to and in no other; and the caller has made sure
// that every byte of it was proven: a new backup is no better than what it shares.
func (b *Backup) Donor() *Donor {
	d := &Donor{b: b, streams: map[string]*laidOut{}, table: b.macsTable(), indexes: map[int]*frameIndexOnce{}}
	for _, s := range b.manifest.Streams {
		laid := &laidOut{extents: s.Extents, starts: make([]int64, len(s.Extents))}
		var at int64
		for i, e := range s.Extents {
			laid.starts[i] = at
			at += e.Bytes
		}
		d.streams[s.Name] = laid
	}
	return d
}

// remains fails when the earlier backup was deleted meanwhile: what is shared may be gone.
func (d *Donor) remains(ctx context.Context) error {
	_, err := d.b.v.readRoot(ctx, d.b.manifest.Key, false)
	if fault.Has(err, fault.ObjectMissing) || fault.Has(err, fault.BackupIncomplete) {
		return fault.Newf(fault.BackupIncomplete, "share frames with", d.b.manifest.Key, "it was deleted while the new backup was made").
			WithHint("nothing is lost: the next backup shares with another one, or is full")
	}
	return err
}

// frameAt finds the frame that begins at this offset of a stream and has just so many bytes.
func (d *Donor) frameAt(stream string, offset int64, bytes int) (e Extent, ok bool) {
	laid := d.streams[stream]
	if laid == nil {
		return Extent{}, false
	}
	i := sort.Search(len(laid.starts), func(i int) bool { return laid.starts[i] > offset }) - 1
	if i < 0 {
		return Extent{}, false
	}
	within, run := offset-laid.starts[i], laid.extents[i]
	o := d.b.object(run)
	if within >= run.Bytes || within%int64(o.FrameSize) != 0 || !o.MACs {
		return Extent{}, false
	}
	frame := run.First + int(within/int64(o.FrameSize))
	if o.span(frame, 1) != int64(bytes) {
		return Extent{}, false
	}
	return Extent{Object: run.Object, First: frame, Frames: 1, Bytes: int64(bytes)}, true
}

// holds says whether a frame has this content. One whose MAC can't be had is
// taken to have another: then the content is stored again, which loses nothing.
func (d *Donor) holds(ctx context.Context, frame Extent, content []byte) bool {
	macs, err := d.macs(ctx, frame.Object)
	if err != nil {
		return false
	}
	o := d.b.object(frame)
	key, err := d.b.v.readKey(ctx, o.KeyID)
	return err == nil && macs[frame.First] == version(o.Version).frameMAC(key, content)
}

// macs reads the index of an object, once.
func (d *Donor) macs(ctx context.Context, object int) ([][frameMACSize]byte, error) {
	d.mu.Lock()
	known := d.indexes[object]
	if known == nil {
		for old := range d.indexes { // any: streams are read in order, and few objects at once
			if len(d.indexes) < donorIndexes {
				break
			}
			delete(d.indexes, old)
		}
		known = new(frameIndexOnce)
		d.indexes[object] = known
	}
	d.mu.Unlock()
	known.once.Do(func() {
		o := &d.b.manifest.Objects[object]
		if known.err = d.young(ctx, o); known.err != nil {
			return
		}
		if known.macs, known.err = d.table.macs(ctx, o); known.macs == nil { // or can't be read: its index tells
			known.macs, known.err = d.b.v.frameMACs(ctx, o)
		}
	})
	return known.macs, known.err
}

// errOld is why an object is not shared.
var errOld = errors.New("more than half of its Object Lock is over")

// young refuses an object whose lock would end long before that of the new backup's own.
func (d *Donor) young(ctx context.Context, o *Object) error {
	if d.oldest.IsZero() {
		return nil
	}
	info, err := d.b.v.cfg.Store.Head(ctx, o.Key)
	if err == nil && info.Modified.Before(d.oldest) {
		err = errOld
	}
	return err
}

// lockedSince says since when what the store has stored is locked for at least half
// of the time for which it locks a new object; zero when it locks nothing by itself, or does not
// tell. The time is the store's own: when it took the object under key.
func (v *Vault) lockedSince(ctx context.Context, key string) (time.Time, error) {
	inspector, ok := v.cfg.Store.(store.Inspector)
	if !ok {
		return time.Time{}, nil
	}
	lock, err := inspector.ObjectLock(ctx)
	if fault.Has(err, fault.StorageDenied) || fault.Has(err, fault.Unsupported) {
		return time.Time{}, nil // these credentials may not ask, or the server has no locks
	}
	if err != nil || lock.Retention == 0 {
		return time.Time{}, err
	}
	info, err := v.cfg.Store.Head(ctx, key)
	return info.Modified.Add(-lock.Retention / 2), err
}

// frameMACs reads the header and the index of an object, both checked.
func (v *Vault) frameMACs(ctx context.Context, o *Object) ([][frameMACSize]byte, error) {
	r := v.openRun(ctx, o, 0, o.frames())
	r.whole = false // its frames are not read
	r.sources = []store.Store{v.cfg.Store}
	defer r.close()
	if err := r.persist(r.open); err != nil {
		return nil, err
	}
	if !r.h.MACs {
		return nil, fault.New(fault.IntegrityError, "read", o.Key, errIndex)
	}
	return r.macs, nil
}
