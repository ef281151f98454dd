package keys

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"

	"golang.org/x/crypto/argon2"
)

// The kinds of wrapping keys, as slots name them.
const (
	kindRaw        = "raw"
	kindPassphrase = "passphrase"
	kindX25519     = "x25519"
)

var (
	errUnwrap = errors.New("slot is altered or was made for another key")
	errArgon2 = errors.New("its parameters of Argon2id are not those of the format")
)

// symmetric is a raw secret or a passphrase.
type symmetric struct {
	kind       string
	passphrase []byte

	mu        sync.Mutex
	stretch   argon2Parameters             // what this ring writes with; passphrases only
	stretched map[argon2Fingerprint][]byte // W by its parameters: Argon2id runs once for each
	raw       []byte
}

// argon2Parameters stand in the slots that a passphrase wraps. Memory is in KiB.
type argon2Parameters struct {
	Salt    Base64 `json:"salt"`
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory"`
	Threads uint8  `json:"threads"`
}

type argon2Fingerprint struct {
	salt         string
	time, memory uint32
	threads      uint8
}

// The second recommendation of RFC 9106, section 4.
func argon2Defaults(system string) argon2Parameters {
	salt := sha256.Sum256([]byte("lifeboat passphrase 1\x00" + system))
	return argon2Parameters{Salt: salt[:16], Time: 3, Memory: 64 << 10, Threads: 4}
}

// published says whether these are the parameters of the format, with any salt:
// a damaged or hostile slot could exhaust the host with others.
func (p argon2Parameters) published() bool {
	want := argon2Defaults("")
	return len(p.Salt) == len(want.Salt) && p.Time == want.Time && p.Memory == want.Memory && p.Threads == want.Threads
}

// secret gives W, the 32 bytes that everything else is derived from.
func (s *symmetric) secret(p argon2Parameters) []byte {
	if s.kind == kindRaw {
		return s.raw
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := argon2Fingerprint{string(p.Salt), p.Time, p.Memory, p.Threads}
	if w, ok := s.stretched[at]; ok {
		return w
	}
	w := argon2.IDKey(s.passphrase, p.Salt, p.Time, p.Memory, p.Threads, keySize)
	s.stretched[at] = w
	return w
}

func wrapperID(w []byte) string {
	mac := hmac.New(sha256.New, w)
	mac.Write([]byte("lifeboat wrapping key id 1"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

func (s *symmetric) wrap(keyID string, payload []byte) (slotBody, error) {
	w := s.secret(s.stretch)
	body := slotBody{Version: 1, Key: keyID, Kind: s.kind, Wrapper: wrapperID(w), Salt: make([]byte, keySize)}
	if s.kind == kindPassphrase {
		body.Argon2 = &s.stretch
	}
	if _, err := rand.Read(body.Salt); err != nil {
		return slotBody{}, err
	}
	aead, err := slotAEAD(w, body.Salt, keyID)
	if err != nil {
		return slotBody{}, err
	}
	body.Wrapped = aead.Seal(nil, make([]byte, aead.NonceSize()), payload, body.context())
	return body, nil
}

// unwrap opens a slot of its kind; mine is false when the slot is another key's.
func (s *symmetric) unwrap(body slotBody) (payload []byte, mine bool, err error) {
	var p argon2Parameters
	if s.kind == kindPassphrase {
		if body.Argon2 == nil || !body.Argon2.published() {
			return nil, true, errArgon2
		}
		p = *body.Argon2
	}
	w := s.secret(p)
	if wrapperID(w) != body.Wrapper {
		return nil, false, nil
	}
	aead, err := slotAEAD(w, body.Salt, body.Key)
	if err != nil {
		return nil, true, err
	}
	payload, err = aead.Open(nil, make([]byte, aead.NonceSize()), body.Wrapped, body.context())
	if err != nil || len(payload) != payloadSize {
		return nil, true, errUnwrap
	}
	return payload, true, nil
}

func slotAEAD(w, salt []byte, keyID string) (aeadOpener, error) {
	key, err := hkdf.Key(sha256.New, w, salt, "lifeboat slot key 1", keySize)
	if err != nil {
		return nil, err
	}
	return gcm(key, keyID)
}

type aeadOpener interface {
	NonceSize() int
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

func recipientID(public []byte) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// recipient is an X25519 public key that data keys are wrapped for.
type recipient struct{ public hpke.PublicKey }

func newRecipient(text string) (recipient, bool) {
	raw, ok := parse32(text)
	if !ok {
		return recipient{}, false
	}
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(raw)
	return recipient{public: public}, err == nil
}

func (r recipient) wrap(keyID string, payload []byte) (slotBody, error) {
	body := slotBody{Version: 1, Key: keyID, Kind: kindX25519, Wrapper: recipientID(r.public.Bytes())}
	wrapped, err := hpke.Seal(r.public, hpke.HKDFSHA256(), hpke.AES256GCM(), body.context(), payload)
	if err != nil {
		return slotBody{}, err
	}
	body.Wrapped = wrapped
	return body, nil
}

// identity is an X25519 private key that opens what was wrapped for its public half.
type identity struct {
	private hpke.PrivateKey
	id      string
}

func newIdentity(text string) (identity, bool) {
	raw, ok := parse32(text)
	if !ok {
		return identity{}, false
	}
	private, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(raw)
	if err != nil {
		return identity{}, false
	}
	return identity{private: private, id: recipientID(private.PublicKey().Bytes())}, true
}

func (i identity) unwrap(body slotBody) ([]byte, bool, error) {
	if body.Wrapper != i.id {
		return nil, false, nil
	}
	payload, err := hpke.Open(i.private, hpke.HKDFSHA256(), hpke.AES256GCM(), body.context(), body.Wrapped)
	if err != nil || len(payload) != payloadSize {
		return nil, true, errUnwrap
	}
	return payload, true, nil
}

// NewIdentity makes a fresh X25519 pair: the identity opens, the recipient
// (base64) is what writers are configured with.
func NewIdentity() (Secret, string, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return Secret{}, "", err
	}
	return Secret{bytes: []byte(encode(private.Bytes()))}, encode(private.PublicKey().Bytes()), nil
}
