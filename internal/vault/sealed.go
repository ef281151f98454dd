package vault

import (
	"context"
	"crypto/hmac"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

const plainMACDomain = "lifeboat plaintext 1"

// SealedOptions say how a single object is put.
type SealedOptions struct {
	IfNoneMatch bool   // fail with ObjectExists when the key is taken
	Codec       string // zstd, gzip or none; empty: zstd
}

// PutSealed stores plain, at most MaxChunkSize, as one sealed object under key.
// The data key keyID is made on first use.
func (v *Vault) PutSealed(ctx context.Context, key, keyID string, plain []byte, o SealedOptions) error {
	if o.Codec == "" {
		o.Codec = codecZstd.String()
	}
	with, ok := parseCodec(o.Codec)
	if !ok || key == "" || len(plain) > MaxChunkSize {
		return fault.Newf(fault.InputInvalid, "put", key, "%d bytes with codec %q", len(plain), o.Codec)
	}
	if v.cfg.System != "" {
		if err := v.claim(ctx, v.cfg.System); err != nil {
			return err
		}
	}
	dataKey, err := v.writeKey(ctx, keyID)
	if err != nil {
		return err
	}
	room := boundFor(with, v.cfg.FrameSize, len(plain))
	whole := rounded(int64(room + scratchSize(with, v.cfg.FrameSize)))
	if err := v.cfg.Budget.Acquire(ctx, whole); err != nil {
		return err
	}
	defer v.cfg.Budget.Release(whole)
	buffer := v.cfg.Budget.buffer(int(whole))
	defer v.cfg.Budget.recycle(buffer)
	mac := dataKey.MAC(plainMACDomain, plain)
	s := sealing{codecs: v.codecs, key: dataKey, header: header{
		Kind: kindSingle, Codec: with, KeyID: keyID, Key: key,
		FrameSize: uint32(v.cfg.FrameSize), PlainMAC: &mac,
	}}
	body, _, err := s.seal((*buffer)[:room], (*buffer)[room:], plain)
	if err != nil {
		return err
	}
	_, err = v.cfg.Store.Put(ctx, key, body, store.PutOptions{IfNoneMatch: o.IfNoneMatch})
	return err
}

// GetSealed reads what PutSealed stored, from the replica when the primary fails.
func (v *Vault) GetSealed(ctx context.Context, key string) ([]byte, error) {
	r := v.openSingle(ctx, key, kindSingle)
	plain, err := v.readWhole(ctx, r)
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
	if mac := key.MAC(plainMACDomain, plain); !hmac.Equal(mac[:], h.PlainMAC[:]) {
		return fault.New(fault.IntegrityError, "read", h.Key, errPlainMAC)
	}
	return nil
}

// SealedMAC reads of a single object only its header, which is authenticated:
// the id of its data key and the keyed MAC of its plaintext.
func (v *Vault) SealedMAC(ctx context.Context, key string) (keyID string, mac [32]byte, err error) {
	r := v.openSingle(ctx, key, kindSingle)
	defer r.close()
	h, err := r.head()
	if err != nil {
		return "", mac, err
	}
	if h.PlainMAC == nil {
		return "", mac, fault.New(fault.IntegrityError, "read", key, errHeader)
	}
	return h.KeyID, *h.PlainMAC, nil
}

// SealedEqual says whether the single object under key holds just plain. It
// compares keyed MACs and reads only the header.
func (v *Vault) SealedEqual(ctx context.Context, key string, plain []byte) (bool, error) {
	keyID, stored, err := v.SealedMAC(ctx, key)
	if err != nil {
		return false, err
	}
	dataKey, err := v.readKey(ctx, keyID)
	if err != nil {
		return false, err
	}
	mine := dataKey.MAC(plainMACDomain, plain)
	return hmac.Equal(mine[:], stored[:]), nil
}
