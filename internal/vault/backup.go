package vault

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// tombstoneBelow is the length that every tombstone is below and no manifest is.
const tombstoneBelow = 256

// Backup is a finished backup, open for reading. It is safe for concurrent use.
type Backup struct {
	v        *Vault
	manifest *Manifest
	heads    heads
	owned    struct {
		once  sync.Once
		donor *Donor
	}
}

// own is the backup as what its own frames are looked up in.
func (b *Backup) own() *Donor {
	b.owned.once.Do(func() { b.owned.donor = b.Donor() })
	return b.owned.donor
}

// Open opens the backup with this key. BackupUnknown: there is nothing under
// it. BackupIncomplete: it has no manifest. IntegrityError, KeyUnavailable,
// KeyWrong, FormatUnsupported: its manifest can't be trusted or read.
func (v *Vault) Open(ctx context.Context, key string) (*Backup, error) {
	return v.open(ctx, key, nil)
}

// open opens a backup. hold, which may be nil, is asked whether the objects are
// there before anything is read from them.
func (v *Vault) open(ctx context.Context, key string, hold func(ctx context.Context, needed []string) error) (*Backup, error) {
	key = cleanKey(key)
	if _, ok := parseKey(key); !ok {
		return nil, fault.Newf(fault.BackupUnknown, "open backup", key, "this is not the name of a backup")
	}
	if err := v.recognize(ctx); err != nil {
		return nil, err
	}
	m, err := v.readRoot(ctx, key, hold != nil)
	if fault.Has(err, fault.ObjectMissing) {
		return nil, v.missing(ctx, key)
	}
	if err == nil && hold != nil && len(m.Tables) > 0 {
		err = hold(ctx, m.tablesOf())
	}
	if err == nil {
		err = v.moveIn(ctx, m)
	}
	if err == nil && hold != nil {
		err = hold(ctx, m.keysOf())
	}
	if err == nil && hold != nil {
		err = v.holdKeys(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	if v.cfg.System != "" && m.System != v.cfg.System {
		return nil, fault.Newf(fault.ConfigInvalid, "open backup", key, "it belongs to system %q, not %q", m.System, v.cfg.System)
	}
	return &Backup{v: v, manifest: m}, nil
}

// missing tells a backup that was never finished from one that never was.
func (v *Vault) missing(ctx context.Context, key string) error {
	var begun bool
	err := v.eachStore(ctx, key, func(s store.Store) error {
		for _, err := range s.List(ctx, key+"/", store.ListOptions{Delimiter: "/"}) {
			begun = begun || err == nil
			return err
		}
		return fault.New(fault.ObjectMissing, "list", key, nil)
	})
	switch {
	case begun:
		return fault.New(fault.BackupIncomplete, "open backup", key, nil)
	case fault.Has(err, fault.ObjectMissing):
		return fault.New(fault.BackupUnknown, "open backup", key, nil)
	}
	return err
}

// readManifest reads, opens and checks the root and its tables.
func (v *Vault) readManifest(ctx context.Context, key string) (*Manifest, error) {
	m, err := v.readRoot(ctx, key, false)
	if err != nil {
		return nil, err
	}
	return m, v.moveIn(ctx, m)
}

// readRoot reads, opens and checks the root. With whole it tells a data key that
// is nowhere from one that does not open.
func (v *Vault) readRoot(ctx context.Context, key string, whole bool) (*Manifest, error) {
	object := manifestKey(key)
	r := v.openSingle(ctx, object, kindManifest)
	plain, err := v.readWhole(ctx, r, nil)
	if fault.Has(err, fault.IntegrityError) && v.isTombstone(ctx, object) {
		return nil, fault.Newf(fault.BackupIncomplete, "open backup", key, "it was given up")
	}
	if err != nil && whole && r.keyID != "" {
		return nil, v.keyless(ctx, r.keyID, err)
	}
	if err != nil {
		return nil, err
	}
	dataKey, err := v.readKey(ctx, r.h.KeyID)
	if err != nil {
		return nil, err
	}
	return decodeManifest(key, r.h, plain, v.cfg.Keys, dataKey)
}

// isTombstone says whether the manifest's place was taken to end the backup.
func (v *Vault) isTombstone(ctx context.Context, object string) bool {
	raw, err := readSmall(ctx, v.cfg.Store, object)
	if err != nil || len(raw) >= tombstoneBelow {
		return false
	}
	var found struct {
		Tombstone bool `json:"tombstone"`
	}
	return json.Unmarshal(raw, &found) == nil && found.Tombstone
}

// readWhole reads a whole object, into room when that is large enough. The budget is held
// while it is read, and no longer: what is returned is the caller's.
func (v *Vault) readWhole(ctx context.Context, r *objectReader, room []byte) ([]byte, error) {
	defer r.close()
	if err := r.persist(r.open); err != nil {
		return nil, err
	}
	need := int64(r.h.Plain) + r.frameCost()
	if err := v.cfg.Budget.Acquire(ctx, need); err != nil {
		return nil, err
	}
	defer v.cfg.Budget.Release(need)
	plain := room
	if cap(plain) < int(r.h.Plain) {
		plain = make([]byte, r.h.Plain)
	}
	plain = plain[:r.h.Plain]
	return plain, r.fill(plain)
}

// fill reads all frames to the end into dst, which has just the length for them.
func (r *objectReader) fill(dst []byte) error {
	for {
		n, err := r.next(dst)
		if errors.Is(err, errEnd) {
			if len(dst) > 0 {
				return fault.New(fault.IntegrityError, "read", r.key, errTruncated)
			}
			return nil
		}
		if err != nil {
			return err
		}
		dst = dst[n:]
	}
}

// Manifest is what the backup says of itself. It must not be changed.
func (b *Backup) Manifest() *Manifest { return b.manifest }

// Chunks is the number of pieces that ReadChunks gives of a stream.
func (b *Backup) Chunks(stream string) (int, error) {
	s, err := b.manifest.Stream(stream)
	if err != nil {
		return 0, err
	}
	return len(s.Extents), nil
}

// packedCost is the memory a reader needs for one sealed frame of the object.
func (o *Object) packedCost() int64 {
	h, _ := o.head()
	return int64(packedSize(&h))
}

func (r *objectReader) frameCost() int64 { return int64(packedSize(r.h)) }

func packedSize(h *header) int {
	return int(h.FrameSize) + h.Codec.growth(int(h.FrameSize)) + tagSize
}
