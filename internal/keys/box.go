package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"github.com/frende/lifeboat/internal/fault"
)

// Box seals small texts under keys of 32 bytes: with the first, and opens what
// any of them sealed. Each key is known by an ID that says nothing of it, and is
// used through a derived one, so that the same secret may serve elsewhere. Up to
// 2^32 texts may be sealed under one key. A Box is safe for concurrent use.
type Box struct{ keys []boxKey }

type boxKey struct {
	id   string
	aead cipher.AEAD
}

// NewBox makes a Box; setting names where the secrets are configured. A Box
// without secrets seals nothing. ConfigInvalid: one of them is no key.
func NewBox(setting string, secrets []Secret) (*Box, error) {
	b := &Box{}
	for i, secret := range secrets {
		raw, ok := parse32(string(secret.bytes))
		if !ok {
			return nil, fault.Newf(fault.ConfigInvalid, "read keys", setting, "key %d is not 32 bytes in hex or base64", i+1).
				WithHint("make one with: openssl rand -hex 32")
		}
		id, err := hkdf.Key(sha256.New, raw, nil, "lifeboat box key id 1", 8)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read keys", setting, err)
		}
		derived, err := hkdf.Key(sha256.New, raw, nil, "lifeboat box key 1", keySize)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read keys", setting, err)
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read keys", setting, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read keys", setting, err)
		}
		b.keys = append(b.keys, boxKey{id: hex.EncodeToString(id), aead: aead})
	}
	return b, nil
}

// Seals says whether there is a key to seal with.
func (b *Box) Seals() bool { return len(b.keys) > 0 }

// KeyIDs are the IDs of the keys, in their order.
func (b *Box) KeyIDs() []string {
	ids := make([]string, len(b.keys))
	for i, key := range b.keys {
		ids[i] = key.id
	}
	return ids
}

// Seal seals a text with the first key, together with known, which stands in
// the clear. Without a key it fails with KeyUnavailable.
func (b *Box) Seal(plain, known []byte) ([]byte, error) {
	if !b.Seals() {
		return nil, fault.Newf(fault.KeyUnavailable, "seal", "payload", "no key is configured")
	}
	with := b.keys[0].aead
	nonce := make([]byte, with.NonceSize(), with.NonceSize()+len(plain)+with.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fault.New(fault.Unsupported, "seal", "payload", err)
	}
	return with.Seal(nonce, nonce, plain, known), nil
}

// Open opens what the key with this ID sealed together with known.
// KeyUnavailable: it is not configured. IntegrityError: it was altered.
func (b *Box) Open(keyID string, sealed, known []byte) ([]byte, error) {
	for _, key := range b.keys {
		if key.id != keyID {
			continue
		}
		if len(sealed) < key.aead.NonceSize() {
			return nil, fault.Newf(fault.IntegrityError, "open", "payload", "it is too short")
		}
		plain, err := key.aead.Open(nil, sealed[:key.aead.NonceSize()], sealed[key.aead.NonceSize():], known)
		if err != nil {
			return nil, fault.New(fault.IntegrityError, "open", "payload", err)
		}
		return plain, nil
	}
	return nil, fault.Newf(fault.KeyUnavailable, "open payload sealed with key", keyID, "%d other keys are configured", len(b.keys))
}
