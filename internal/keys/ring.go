package keys

import (
	"context"
	"crypto/ed25519"
	"encoding/json"

	"github.com/frende/lifeboat/internal/fault"
)

// minPassphrase is how many bytes a passphrase needs. A shorter one is refused:
// the wrapped keys lie where others may copy and try them.
const minPassphrase = 12

// Config names the wrapping keys.
type Config struct {
	System     string   // the protected system's name; part of the passphrase's salt
	Secrets    []Secret // 32 bytes in hex or base64, or a passphrase; the first one signs
	Recipients []string // X25519 public keys to wrap for, hex or base64
	Identities []Secret // X25519 private keys, to open
	Signers    []string // Ed25519 public keys (hex or base64) to believe besides the secrets' own
}

// Ring holds the configured wrapping keys. It is safe for concurrent use and
// does nothing slow until it is asked: Argon2id runs at the first use of a
// passphrase, once per process.
type Ring struct {
	secrets    []*symmetric
	recipients []recipient
	identities []identity
	signing    signing
}

// NewRing checks the configured keys: ConfigInvalid says which one is wrong, by its place.
func NewRing(c Config) (*Ring, error) {
	r := &Ring{}
	for i, secret := range c.Secrets {
		switch raw, ok := parse32(string(secret.bytes)); {
		case ok:
			r.secrets = append(r.secrets, &symmetric{kind: kindRaw, raw: raw})
		case len(secret.bytes) < minPassphrase:
			return nil, fault.Newf(fault.ConfigInvalid, "read keys", "keys.encryption", "key %d has %d bytes", i+1, len(secret.bytes)).
				WithHint("give 32 bytes in hex or base64, as from: openssl rand -hex 32, or a passphrase of at least %d characters", minPassphrase)
		default:
			r.secrets = append(r.secrets, &symmetric{
				kind: kindPassphrase, passphrase: secret.bytes,
				stretch: argon2Defaults(c.System), stretched: map[argon2Fingerprint][]byte{},
			})
		}
	}
	for i, text := range c.Recipients {
		found, ok := newRecipient(text)
		if !ok {
			return nil, fault.Newf(fault.ConfigInvalid, "read keys", "keys.recipients", "recipient %d is no X25519 public key in hex or base64", i+1)
		}
		r.recipients = append(r.recipients, found)
	}
	for i, secret := range c.Identities {
		found, ok := newIdentity(string(secret.bytes))
		if !ok {
			return nil, fault.Newf(fault.ConfigInvalid, "read keys", "keys.identities", "identity %d is no X25519 private key in hex or base64", i+1)
		}
		r.identities = append(r.identities, found)
	}
	for i, text := range c.Signers {
		raw, ok := parse32(text)
		if !ok {
			return nil, fault.Newf(fault.ConfigInvalid, "read keys", "keys.signers", "signer %d is no Ed25519 public key in hex or base64", i+1)
		}
		r.signing.pinned = append(r.signing.pinned, ed25519.PublicKey(raw))
	}
	if len(r.secrets)+len(r.identities) == 0 {
		return nil, fault.Newf(fault.ConfigInvalid, "read keys", "keys.encryption", "no key is configured").
			WithHint("set BACKUP_ENCRYPTION_KEY, or name a key under keys.encryption")
	}
	r.signing.secrets = r.secrets
	return r, nil
}

// Create makes the data key keyID, random, and wraps it for every configured
// wrapping key. When the key exists, it opens what is there instead and adds
// the slots that are missing; so it may be repeated, may race, and rotates.
// Only a ring with a secret creates: someone must sign.
func (r *Ring) Create(ctx context.Context, slots Slots, keyID string) (*DataKey, error) {
	if err := checkKeyID("create key", keyID); err != nil {
		return nil, err
	}
	if len(r.secrets) == 0 {
		return nil, fault.Newf(fault.KeyUnavailable, "create key", keyID, "this ring can only open").
			WithHint("configure a key under keys.encryption to write backups")
	}
	first, err := getSlot(ctx, slots, keyID, firstSlot)
	if err != nil {
		return nil, err
	}
	if first == nil {
		signer, err := r.signing.public()
		if err != nil {
			return nil, err
		}
		made, err := newDataKey(keyID, signer)
		if err != nil {
			return nil, err
		}
		err = r.putSlot(ctx, slots, firstSlot, r.secrets[0], made)
		switch {
		case err == nil:
			return made, r.addSlots(ctx, slots, made, r.wrapperName(r.secrets[0]))
		case !fault.Has(err, fault.ObjectExists):
			return nil, err
		}
		if first, err = getSlot(ctx, slots, keyID, firstSlot); err != nil { // another one was first: his key it is
			return nil, err
		}
	}
	key, err := r.open(ctx, slots, keyID, first)
	if err != nil {
		return nil, err
	}
	var firstFor string
	if first != nil {
		if body, err := parseSlot(keyID, first); err == nil { // a damaged slot counts as missing
			firstFor = body.name()
		}
	}
	return key, r.addSlots(ctx, slots, key, firstFor)
}

// Open opens the data key keyID. It reads the slot "first" and those named for
// the configured keys, whatever else lies there. KeyUnavailable: there is none of
// these, or none of a kind that is configured. KeyWrong: there is, but for another
// key. IntegrityError: a slot is altered.
func (r *Ring) Open(ctx context.Context, slots Slots, keyID string) (*DataKey, error) {
	if err := checkKeyID("open key", keyID); err != nil {
		return nil, err
	}
	first, err := getSlot(ctx, slots, keyID, firstSlot)
	if err != nil {
		return nil, err
	}
	return r.open(ctx, slots, keyID, first)
}

// open tries the slot first (nil: there is none), then those of the ring's own keys.
func (r *Ring) open(ctx context.Context, slots Slots, keyID string, first *Slot) (*DataKey, error) {
	var damaged error
	found, sameKind := false, false
	try := func(s *Slot) *DataKey {
		if s == nil {
			return nil
		}
		found = true
		body, err := parseSlot(keyID, s)
		if err != nil {
			damaged = err
			return nil
		}
		sameKind = sameKind || r.has(body.Kind)
		payload, mine, err := r.unwrap(body)
		if err != nil {
			damaged = fault.New(fault.IntegrityError, "open key", slotKey(keyID, s.Name), err)
		}
		if err != nil || !mine {
			return nil
		}
		return dataKeyOf(keyID, payload, body.Kind != kindX25519)
	}
	if key := try(first); key != nil {
		return key, nil
	}
	for _, name := range r.ownSlots() {
		s, err := getSlot(ctx, slots, keyID, name())
		if err != nil {
			return nil, err
		}
		if key := try(s); key != nil {
			return key, nil
		}
	}
	switch {
	case !found:
		return nil, fault.Newf(fault.KeyUnavailable, "open key", keyID, "the store has no slot of it for a configured key")
	case damaged != nil:
		return nil, damaged
	case sameKind:
		return nil, fault.Newf(fault.KeyWrong, "open key", keyID, "its slots are for other keys")
	default:
		return nil, fault.Newf(fault.KeyUnavailable, "open key", keyID, "its slots are for kinds of keys that are not configured")
	}
}

// ownSlots name the slots that the ring's keys open, those that cost Argon2id last.
func (r *Ring) ownSlots() []func() string {
	var cheap, dear []func() string
	for _, s := range r.secrets {
		name := func() string { return r.wrapperName(s) }
		if s.kind == kindPassphrase {
			dear = append(dear, name)
		} else {
			cheap = append(cheap, name)
		}
	}
	for _, i := range r.identities {
		cheap = append(cheap, func() string { return kindX25519 + "-" + i.id })
	}
	return append(cheap, dear...)
}

// Recipients are the public halves of the ring's identities, as writers are
// configured with them.
func (r *Ring) Recipients() []string {
	out := make([]string, 0, len(r.identities))
	for _, i := range r.identities {
		out = append(out, encode(i.private.PublicKey().Bytes()))
	}
	return out
}

func (r *Ring) unwrap(body slotBody) (payload []byte, mine bool, err error) {
	for _, s := range r.secrets {
		if s.kind == body.Kind {
			if payload, mine, err = s.unwrap(body); mine {
				return payload, mine, err
			}
		}
	}
	if body.Kind == kindX25519 {
		for _, i := range r.identities {
			if payload, mine, err = i.unwrap(body); mine {
				return payload, mine, err
			}
		}
	}
	return nil, false, nil
}

func (r *Ring) has(kind string) bool {
	for _, s := range r.secrets {
		if s.kind == kind {
			return true
		}
	}
	return kind == kindX25519 && len(r.identities) > 0
}

// wrapper is what a data key can be wrapped for.
type wrapper interface {
	wrap(keyID string, payload []byte) (slotBody, error)
}

func (r *Ring) wrapperName(w wrapper) string {
	switch w := w.(type) {
	case *symmetric:
		return w.kind + "-" + wrapperID(w.secret(w.stretch))
	case recipient:
		return kindX25519 + "-" + recipientID(w.public.Bytes())
	}
	return ""
}

// addSlots puts the slots that are missing, but for the one that the slot first is for.
func (r *Ring) addSlots(ctx context.Context, slots Slots, key *DataKey, firstFor string) error {
	wrappers := make([]wrapper, 0, len(r.secrets)+len(r.recipients))
	for _, s := range r.secrets {
		wrappers = append(wrappers, s)
	}
	for _, to := range r.recipients {
		wrappers = append(wrappers, to)
	}
	for _, w := range wrappers {
		name := r.wrapperName(w)
		if name == firstFor {
			continue
		}
		have, err := getSlot(ctx, slots, key.id, name)
		if err != nil {
			return err
		}
		if have != nil {
			continue
		}
		if err := r.putSlot(ctx, slots, name, w, key); err != nil && !fault.Has(err, fault.ObjectExists) {
			return err
		}
	}
	return nil
}

func (r *Ring) putSlot(ctx context.Context, slots Slots, name string, w wrapper, key *DataKey) error {
	body, err := w.wrap(key.id, key.payload())
	if err != nil {
		return fault.New(fault.KeyUnavailable, "wrap key", key.id, err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.KeyUnavailable, "wrap key", key.id, err)
	}
	return slots.PutSlot(ctx, key.id, name, raw)
}
