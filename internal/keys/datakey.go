package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/frende/lifeboat/internal/fault"
)

const (
	keySize     = 32
	payloadSize = keySize + keySize + ed25519.PublicKeySize
)

// DataKey seals the objects of one backup, or of one day of WAL. It is safe for
// concurrent use.
type DataKey struct {
	id      string
	content [keySize]byte
	mac     [keySize]byte
	signer  ed25519.PublicKey
	trusted bool // the slot it came from vouches for the signer

	hashers sync.Map // *sync.Pool of *blake3.Hasher, by domain
}

func newDataKey(id string, signer ed25519.PublicKey) (*DataKey, error) {
	k := &DataKey{id: id, signer: signer, trusted: true}
	for _, part := range [][]byte{k.content[:], k.mac[:]} {
		if _, err := rand.Read(part); err != nil {
			return nil, fault.New(fault.KeyUnavailable, "create key", id, err)
		}
	}
	return k, nil
}

func dataKeyOf(id string, payload []byte, trusted bool) *DataKey {
	k := &DataKey{id: id, trusted: trusted, signer: append(ed25519.PublicKey(nil), payload[2*keySize:payloadSize]...)}
	copy(k.content[:], payload)
	copy(k.mac[:], payload[keySize:])
	return k
}

func (k *DataKey) payload() []byte {
	out := make([]byte, 0, payloadSize)
	out = append(out, k.content[:]...)
	out = append(out, k.mac[:]...)
	return append(out, k.signer...)
}

// ID names the key.
func (k *DataKey) ID() string { return k.id }

// String names the key and hides it.
func (k *DataKey) String() string { return "data key " + k.id }

// GoString names the key and hides it from %#v.
func (k *DataKey) GoString() string { return k.String() }

// AEAD gives the AES-256-GCM of the one object that has this random salt of 32
// bytes. Nonces must be unique within the object only.
func (k *DataKey) AEAD(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.content[:], salt, "lifeboat object key 1", keySize)
	if err != nil {
		return nil, fault.New(fault.KeyUnavailable, "derive object key", k.id, err)
	}
	return gcm(key, k.id)
}

// MAC authenticates parts under the key, for one domain. Where the parts are cut matters.
func (k *DataKey) MAC(domain string, parts ...[]byte) [32]byte {
	mac := hmac.New(sha256.New, k.mac[:])
	mac.Write(append([]byte(domain), 0)) // a hash's Write never fails
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write(part)
	}
	return [32]byte(mac.Sum(nil))
}

// ContentMAC authenticates long content under the key, for one domain: BLAKE3's keyed hash,
// under a key of the domain's own. It is some times as fast as MAC where BLAKE3 has
// vector instructions.
func (k *DataKey) ContentMAC(domain string, content []byte) [32]byte {
	pool := k.hashersFor(domain)
	hasher := pool.Get().(*blake3.Hasher)
	defer pool.Put(hasher)
	hasher.Reset()
	_, _ = hasher.Write(content) // a hash's Write never fails
	var sum [32]byte
	hasher.Sum(sum[:0])
	return sum
}

// hashersFor gives the hashers of a domain. Each is some kilobytes, and a frame is soon hashed.
func (k *DataKey) hashersFor(domain string) *sync.Pool {
	if known, ok := k.hashers.Load(domain); ok {
		return known.(*sync.Pool)
	}
	key := k.MAC(domain)
	pool, _ := k.hashers.LoadOrStore(domain, &sync.Pool{New: func() any {
		hasher, err := blake3.NewKeyed(key[:])
		if err != nil {
			panic(err) // a key of 32 bytes is one
		}
		return hasher
	}})
	return pool.(*sync.Pool)
}

// gcm is AES-256-GCM with standard nonces; keyID is for the error alone.
func gcm(key []byte, keyID string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.New(fault.KeyUnavailable, "use key", keyID, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.New(fault.KeyUnavailable, "use key", keyID, err)
	}
	return aead, nil
}
