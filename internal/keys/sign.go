package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
)

// SignatureSize is the length of a signature with its signer in front.
const SignatureSize = ed25519.PublicKeySize + ed25519.SignatureSize

// signing derives Ed25519 keys from the ring's secrets.
type signing struct {
	secrets []*symmetric
	pinned  []ed25519.PublicKey

	mu   sync.Mutex
	keys []ed25519.PrivateKey // one for each secret, once derived
}

var errSignature = errors.New("signature is not that of a known signer")

func (s *signing) derived() ([]ed25519.PrivateKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		for _, secret := range s.secrets {
			seed, err := hkdf.Key(sha256.New, secret.secret(secret.stretch), nil, "lifeboat signing key 1", ed25519.SeedSize)
			if err != nil {
				return nil, fault.New(fault.KeyUnavailable, "derive signing key", "keys.encryption", err)
			}
			s.keys = append(s.keys, ed25519.NewKeyFromSeed(seed))
		}
	}
	return s.keys, nil
}

func (s *signing) public() (ed25519.PublicKey, error) {
	derived, err := s.derived()
	if err != nil {
		return nil, err
	}
	return publicOf(derived[0]), nil
}

func (s *signing) knows(signer []byte) bool {
	derived, err := s.derived()
	if err != nil {
		return false
	}
	for _, key := range derived {
		if bytes.Equal(publicOf(key), signer) {
			return true
		}
	}
	for _, key := range s.pinned {
		if bytes.Equal(key, signer) {
			return true
		}
	}
	return false
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// Sign signs msg with the first secret's key: signer, then signature,
// SignatureSize bytes. A ring without a secret gives nil, which never verifies.
func (r *Ring) Sign(msg []byte) []byte {
	derived, err := r.signing.derived()
	if err != nil || len(derived) == 0 {
		return nil
	}
	return append(append([]byte(nil), publicOf(derived[0])...), ed25519.Sign(derived[0], msg)...)
}

// Verify checks a signature against the signers that this ring knows: its
// secrets' own and the pinned ones. IntegrityError otherwise.
func (r *Ring) Verify(msg, sig []byte) error {
	if !valid(msg, sig) || !r.signing.knows(sig[:ed25519.PublicKeySize]) {
		return fault.New(fault.IntegrityError, "verify", "signature", errSignature)
	}
	return nil
}

// VerifyFor checks the signature of what is sealed under a data key: it must be
// that of the signer the key was made with, so old backups stay readable after
// the secret that signed them is gone. A key that came out of a recipient's
// slot, which anyone can make, is believed only when the ring knows the signer,
// or when the ring has nothing but identities and no pinned signer.
func (r *Ring) VerifyFor(key *DataKey, msg, sig []byte) error {
	if !valid(msg, sig) || !bytes.Equal(sig[:ed25519.PublicKeySize], key.signer) {
		return fault.New(fault.IntegrityError, "verify", "signature under key "+key.id, errSignature)
	}
	identitiesAlone := len(r.secrets) == 0 && len(r.signing.pinned) == 0
	if !key.trusted && !identitiesAlone && !r.signing.knows(key.signer) {
		return fault.New(fault.IntegrityError, "verify", "signature under key "+key.id, errSignature)
	}
	return nil
}

func valid(msg, sig []byte) bool {
	return len(sig) == SignatureSize && ed25519.Verify(ed25519.PublicKey(sig[:ed25519.PublicKeySize]), msg, sig[ed25519.PublicKeySize:])
}
