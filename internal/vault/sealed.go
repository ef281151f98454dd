package vault

import (
	"context"
	"crypto/hmac"
	"errors"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

// SealedOptions say how a single object is put.
type SealedOptions struct {
	IfNoneMatch bool   // fail with ObjectExists when the key is taken
	Codec       string // zstd, gzip or none; empty: zstd
	Spare       bool   // take only memory that nobody waits for and is there at once, or fail with ErrNoRoom
}

// ErrNoRoom says that there is no spare memory just now.
var ErrNoRoom = errors.New("no spare memory")

// PutSealed stores plain, at most MaxChunkSize, as one sealed object under key.
// The data key keyID is made on first use.
func (v *Vault) PutSealed(ctx context.Context, key, keyID string, plain []byte, o SealedOptions) error {
	s, err := v.Seal(ctx, key, keyID, plain, o)
	if err != nil {
		return err
	}
	defer s.Release()
	return s.Put(ctx)
}

// Sealed is an object that is ready to be stored and takes its memory from the
// budget until it is released.
type Sealed struct {
	vault   *Vault
	key     string
	body    []byte
	options store.PutOptions
	release func()
}

// Put stores the object. It may be repeated.
func (s *Sealed) Put(ctx context.Context) error {
	_, err := s.vault.cfg.Store.Put(ctx, s.key, s.body, s.options)
	return err
}

// Release gives the memory back. The object can't be put any more.
func (s *Sealed) Release() {
	s.body = nil
	s.release()
}

// Seal is the half of PutSealed that comes before the object is stored. plain is
// not kept. The caller has to release what it gets.
func (v *Vault) Seal(ctx context.Context, key, keyID string, plain []byte, o SealedOptions) (*Sealed, error) {
	if o.Codec == "" {
		o.Codec = codecZstd.String()
	}
	with, ok := parseCodec(o.Codec)
	if !ok || key == "" || len(plain) > MaxChunkSize {
		return nil, fault.Newf(fault.InputInvalid, "put", key, "%d bytes with codec %q", len(plain), o.Codec)
	}
	if v.cfg.System != "" {
		if err := v.claim(ctx, v.cfg.System); err != nil {
			return nil, err
		}
	}
	dataKey, err := v.writeKey(ctx, keyID)
	if err != nil {
		return nil, err
	}
	room := wideBound(with, v.cfg.FrameSize, len(plain))
	whole := rounded(int64(room + scratchSize(with, v.cfg.FrameSize)))
	budget := v.cfg.Budget
	giveBack := budget.Release
	if o.Spare {
		if !budget.tryExtra(whole) {
			return nil, ErrNoRoom
		}
		giveBack = budget.releaseExtra
	} else if err := budget.Acquire(ctx, whole); err != nil {
		return nil, err
	}
	buffer := budget.buffer(int(whole))
	release := func() {
		budget.recycle(buffer)
		giveBack(whole)
	}
	s := sealing{codecs: v.codecs, key: dataKey, header: header{
		Version: v.writes, Kind: kindSingle, Codec: with, KeyID: keyID, Key: key,
		FrameSize: uint32(v.cfg.FrameSize),
	}}
	body, _, err := s.sealWide((*buffer)[:room], (*buffer)[room:], plain)
	if err != nil {
		release()
		return nil, err
	}
	return &Sealed{vault: v, key: key, body: body, options: store.PutOptions{IfNoneMatch: o.IfNoneMatch}, release: release}, nil
}

// GetSealed reads what PutSealed stored, from the replica when the primary fails.
func (v *Vault) GetSealed(ctx context.Context, key string) ([]byte, error) {
	return v.GetSealedInto(ctx, key, nil)
}

// GetSealedInto is GetSealed, and gives the object in room when that is large enough.
func (v *Vault) GetSealedInto(ctx context.Context, key string, room []byte) ([]byte, error) {
	r := v.openSingle(ctx, key, kindSingle)
	plain, err := v.readWhole(ctx, r, room)
	if err != nil {
		return nil, err
	}
	dataKey, err := v.readKey(ctx, r.h.KeyID)
	if err != nil {
		return nil, err
	}
	return plain, checkPlainMAC(dataKey, r.h, plain)
}

func checkPlainMAC(key *keys.DataKey, h *header, plain []byte) error {
	if h.PlainMAC == nil {
		return fault.New(fault.IntegrityError, "read", h.Key, errHeader)
	}
	if mac := h.Version.mac(key, plainMACDomain, plain); !hmac.Equal(mac[:], h.PlainMAC[:]) {
		return fault.New(fault.IntegrityError, "read", h.Key, errPlainMAC)
	}
	return nil
}

// sealedHead reads of a single object only its header, which is authenticated.
func (v *Vault) sealedHead(ctx context.Context, key string) (*header, error) {
	r := v.openSingle(ctx, key, kindSingle)
	defer r.close()
	h, err := r.head()
	if err == nil && h.PlainMAC == nil {
		return nil, fault.New(fault.IntegrityError, "read", key, errHeader)
	}
	return h, err
}

// SealedEqual says whether the single object under key holds just plain. It
// compares keyed MACs and reads only the header.
func (v *Vault) SealedEqual(ctx context.Context, key string, plain []byte) (bool, error) {
	stored, err := v.sealedHead(ctx, key)
	if err != nil {
		return false, err
	}
	dataKey, err := v.readKey(ctx, stored.KeyID)
	if err != nil {
		return false, err
	}
	mine := stored.Version.mac(dataKey, plainMACDomain, plain)
	return hmac.Equal(mine[:], stored.PlainMAC[:]), nil
}
