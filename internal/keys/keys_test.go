package keys

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/torture"
)

// memSlots keeps slots in memory.
type memSlots struct {
	mu    sync.Mutex
	slots map[string][]Slot
	read  []string
	race  func() // called once, before the first put
}

func newSlots() *memSlots { return &memSlots{slots: map[string][]Slot{}} }

func (m *memSlots) PutSlot(_ context.Context, keyID, slot string, body []byte) error {
	if race := m.race; race != nil {
		m.race = nil
		race()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.slots[keyID] {
		if s.Name == slot {
			return fault.New(fault.ObjectExists, "put", slotKey(keyID, slot), nil)
		}
	}
	m.slots[keyID] = append(m.slots[keyID], Slot{Name: slot, Body: bytes.Clone(body)})
	return nil
}

func (m *memSlots) GetSlot(_ context.Context, keyID, slot string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = append(m.read, slot)
	for _, s := range m.slots[keyID] {
		if s.Name == slot {
			return s.Body, nil
		}
	}
	return nil, fault.New(fault.ObjectMissing, "get", slotKey(keyID, slot), nil)
}

func rawSecret(n int) Secret {
	return NewSecret([]byte(hex.EncodeToString(bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 16))))
}

func ring(t testing.TB, c Config) *Ring {
	r, err := NewRing(c)
	require.NoError(t, err)
	return r
}

func rawRing(t testing.TB, n ...int) *Ring {
	var c Config
	for _, one := range n {
		c.Secrets = append(c.Secrets, rawSecret(one))
	}
	return ring(t, c)
}

func requireSame(t *testing.T, a, b *DataKey) {
	t.Helper()
	require.Equal(t, a.payload(), b.payload())
	require.Equal(t, a.ID(), b.ID())
}

func requireKind(t *testing.T, err error, kind fault.Kind, names string) {
	t.Helper()
	require.Equal(t, kind, fault.KindOf(err), "%v", err)
	require.Contains(t, err.Error(), names)
}

// TestWrongMissingAndRotatedKeysAreNamed is row 10 of the reliability table.
func TestWrongMissingAndRotatedKeysAreNamed(t *testing.T) {
	identity, recipient, err := NewIdentity()
	require.NoError(t, err)
	torture.Row(t, 10, 25, 100, func(t *testing.T, i int, _ *rand.Rand) {
		keyID := fmt.Sprintf("20240115-%016x", i)
		slots := newSlots()
		made, err := ring(t, Config{Secrets: []Secret{rawSecret(i)}, Recipients: []string{recipient}}).Create(t.Context(), slots, keyID)
		require.NoError(t, err)

		_, err = rawRing(t, i+1000).Open(t.Context(), slots, keyID) // wrong
		requireKind(t, err, fault.KeyWrong, keyID)

		_, err = ring(t, Config{Secrets: []Secret{NewSecret([]byte("correct horse battery staple"))}}).Open(t.Context(), slots, keyID) // of a kind it has no slot for
		requireKind(t, err, fault.KeyUnavailable, keyID)
		_, err = rawRing(t, i).Open(t.Context(), newSlots(), keyID) // shredded
		requireKind(t, err, fault.KeyUnavailable, keyID)

		rotated, err := rawRing(t, i+2000, i).Create(t.Context(), slots, keyID) // a slot for the new key is added
		require.NoError(t, err)
		requireSame(t, made, rotated)
		for _, r := range []*Ring{rawRing(t, i+2000), rawRing(t, i), ring(t, Config{Identities: []Secret{identity}}), rawRing(t, 7777, i)} {
			opened, err := r.Open(t.Context(), slots, keyID)
			require.NoError(t, err)
			requireSame(t, made, opened)
		}
		signature := rawRing(t, i).Sign([]byte("manifest")) // by the key that is no longer configured
		after := rawRing(t, i+2000)
		opened, err := after.Open(t.Context(), slots, keyID)
		require.NoError(t, err)
		require.NoError(t, after.VerifyFor(opened, []byte("manifest"), signature))
		requireKind(t, after.VerifyFor(opened, []byte("manifesto"), signature), fault.IntegrityError, keyID)
		requireKind(t, after.VerifyFor(opened, []byte("manifest"), after.Sign([]byte("manifest"))), fault.IntegrityError, keyID)
	})
}

func TestAPassphraseOpensWithItsOwnSaltUnderAnySystemName(t *testing.T) {
	slots := newSlots()
	secret := []Secret{NewSecret([]byte("correct horse battery staple\n"))}
	writer := ring(t, Config{System: "frende", Secrets: secret})
	made, err := writer.Create(t.Context(), slots, "k")
	require.NoError(t, err)
	require.Len(t, writer.secrets[0].stretched, 1, "argon2 ran more than once")
	require.Equal(t, argon2Parameters{Salt: writer.secrets[0].stretch.Salt, Time: 3, Memory: 64 << 10, Threads: 4}, writer.secrets[0].stretch, "as FORMAT says")
	opened, err := ring(t, Config{System: "other", Secrets: secret}).Open(t.Context(), slots, "k")
	require.NoError(t, err)
	requireSame(t, made, opened)
	_, err = ring(t, Config{System: "frende", Secrets: []Secret{NewSecret([]byte("incorrect horse battery"))}}).Open(t.Context(), slots, "k")
	requireKind(t, err, fault.KeyWrong, "k")
}

func TestTheFirstToPutASlotHasMadeTheKey(t *testing.T) {
	slots := newSlots()
	var winner *DataKey
	slots.race = func() {
		var err error
		winner, err = rawRing(t, 1).Create(t.Context(), slots, "k")
		require.NoError(t, err)
	}
	loser, err := rawRing(t, 1, 2).Create(t.Context(), slots, "k")
	require.NoError(t, err)
	requireSame(t, winner, loser)
	opened, err := rawRing(t, 2).Open(t.Context(), slots, "k")
	require.NoError(t, err)
	requireSame(t, winner, opened)

	again, err := rawRing(t, 1, 2).Create(t.Context(), slots, "k")
	require.NoError(t, err)
	requireSame(t, winner, again)
	require.Len(t, slots.slots["k"], 2, "a slot was put twice")
}

func TestAnAlteredSlotIsNamed(t *testing.T) {
	identity, recipient, err := NewIdentity()
	require.NoError(t, err)
	original := newSlots()
	_, err = ring(t, Config{Secrets: []Secret{rawSecret(1)}, Recipients: []string{recipient}}).Create(t.Context(), original, "k")
	require.NoError(t, err)
	reader := ring(t, Config{Secrets: []Secret{rawSecret(1)}, Identities: []Secret{identity}})
	for _, one := range original.slots["k"] {
		for at := range one.Body {
			changed := bytes.Clone(one.Body)
			changed[at] ^= 1
			slots := newSlots()
			require.NoError(t, slots.PutSlot(t.Context(), "k", one.Name, changed))
			if opened, err := reader.Open(t.Context(), slots, "k"); err == nil {
				require.JSONEq(t, string(one.Body), string(changed), "byte %d of %s", at, one.Name)
				require.NotNil(t, opened)
			} else {
				require.Contains(t, []fault.Kind{fault.IntegrityError, fault.KeyWrong, fault.KeyUnavailable, fault.FormatUnsupported}, fault.KindOf(err))
				require.Contains(t, err.Error(), "k")
			}
		}
	}
	moved := newSlots() // a slot of another key
	require.NoError(t, moved.PutSlot(t.Context(), "other", "first", original.slots["k"][0].Body))
	_, err = reader.Open(t.Context(), moved, "other")
	requireKind(t, err, fault.IntegrityError, "keys/other/first")
	moved.slots["other"][0].Body = bytes.Replace(moved.slots["other"][0].Body, []byte(`"key":"k"`), []byte(`"key":"other"`), 1)
	_, err = reader.Open(t.Context(), moved, "other")
	requireKind(t, err, fault.IntegrityError, "keys/other/first")
	moved.slots["other"] = append(moved.slots["other"], Slot{Name: reader.wrapperName(reader.secrets[0]), Body: []byte(`{"version":1`)})
	_, err = reader.Open(t.Context(), moved, "other")
	requireKind(t, err, fault.IntegrityError, "keys/other")
}

func TestBase64HasOneForm(t *testing.T) {
	for _, size := range []int{0, 1, 16, 31, 32, 112} {
		want := Base64(bytes.Repeat([]byte{0xfb}, size))
		text, err := json.Marshal(want)
		require.NoError(t, err)
		var got Base64
		require.NoError(t, json.Unmarshal(text, &got))
		require.Equal(t, want, got)
	}
	for name, text := range map[string]string{
		"unused bit of two bytes": `"AAF="`, "unused bit of one byte": `"AB=="`, "line break": `"AA\nAA"`, "escape": `"\u0041AAA"`, "no padding": `"AAE"`,
		"URL alphabet": `"-_-_"`, "null": `null`, "number": `1`, "list": `[1,2]`, "no base64": `"%%%%"`,
	} {
		t.Run(name, func(t *testing.T) {
			var got Base64
			require.ErrorIs(t, json.Unmarshal([]byte(text), &got), errBase64)
			require.Empty(t, got)
		})
	}
}

func TestASlotWithAnotherTextForTheSameBytesIsAltered(t *testing.T) {
	slots := newSlots()
	_, err := rawRing(t, 1).Create(t.Context(), slots, "k")
	require.NoError(t, err)
	original := slots.slots["k"][0].Body
	var body slotBody
	require.NoError(t, json.Unmarshal(original, &body))
	for name, bytesOf := range map[string]Base64{"salt": body.Salt, "wrapped": body.Wrapped} {
		t.Run(name, func(t *testing.T) {
			text := encode(bytesOf)
			end := len(bytes.TrimRight([]byte(text), "=")) - 1
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
			last := alphabet[bytes.IndexByte([]byte(alphabet), text[end])+1] // the lowest bit is of no byte
			changed := bytes.Replace(original, []byte(text), []byte(text[:end]+string(last)+text[end+1:]), 1)
			require.NotEqual(t, original, changed)
			slots.slots["k"][0].Body = changed
			_, err := rawRing(t, 1).Open(t.Context(), slots, "k")
			requireKind(t, err, fault.IntegrityError, "keys/k/first")
		})
	}
}

func TestPlantedSlotsCostNothing(t *testing.T) {
	const passphrase = "correct horse battery staple"
	slots := newSlots()
	c := Config{System: "frende", Secrets: []Secret{rawSecret(1), NewSecret([]byte(passphrase))}}
	_, err := ring(t, c).Create(t.Context(), slots, "k")
	require.NoError(t, err)
	for i := range 1000 {
		require.NoError(t, slots.PutSlot(t.Context(), "k", fmt.Sprintf("a%03d", i), []byte(`{"version":1,"key":"k","kind":"passphrase"}`)))
	}
	slots.read = nil
	_, err = ring(t, c).Open(t.Context(), slots, "k")
	require.NoError(t, err)
	require.Equal(t, []string{"first"}, slots.read)
	slots.read = nil
	own := ring(t, Config{System: "frende", Secrets: []Secret{NewSecret([]byte(passphrase))}})
	_, err = own.Open(t.Context(), slots, "k")
	require.NoError(t, err)
	require.Equal(t, []string{"first", own.wrapperName(own.secrets[0])}, slots.read)
}

func TestASlotCannotMakeAPassphraseDear(t *testing.T) {
	secret := []Secret{NewSecret([]byte("correct horse battery staple"))}
	writer := ring(t, Config{System: "frende", Secrets: secret})
	slots := newSlots()
	_, err := writer.Create(t.Context(), slots, "k")
	require.NoError(t, err)
	var good slotBody
	require.NoError(t, json.Unmarshal(slots.slots["k"][0].Body, &good))
	for name, change := range map[string]func(*argon2Parameters){
		"memory":       func(p *argon2Parameters) { p.Memory = 1 << 20 },
		"one KiB more": func(p *argon2Parameters) { p.Memory++ },
		"time":         func(p *argon2Parameters) { p.Time = 16 },
		"cheap":        func(p *argon2Parameters) { p.Time, p.Memory = 1, 8 },
		"threads":      func(p *argon2Parameters) { p.Threads = 255 },
		"salt":         func(p *argon2Parameters) { p.Salt = bytes.Repeat(p.Salt, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			changed, argon2 := good, *good.Argon2
			change(&argon2)
			changed.Argon2 = &argon2
			body, err := json.Marshal(changed)
			require.NoError(t, err)
			planted := newSlots()
			require.NoError(t, planted.PutSlot(t.Context(), "k", firstSlot, body))
			reader := ring(t, Config{System: "frende", Secrets: secret})
			_, err = reader.Open(t.Context(), planted, "k")
			requireKind(t, err, fault.IntegrityError, "keys/k/first")
			require.ErrorIs(t, err, errArgon2)
			require.NotContains(t, reader.secrets[0].stretched, argon2Fingerprint{string(argon2.Salt), argon2.Time, argon2.Memory, argon2.Threads})
		})
	}
}

func TestAForgedRecipientSlotIsNotBelieved(t *testing.T) {
	identity, recipient, err := NewIdentity()
	require.NoError(t, err)
	forged := newSlots() // someone who knows the public key and can write to the bucket
	attacker := ring(t, Config{Secrets: []Secret{rawSecret(666)}, Recipients: []string{recipient}})
	_, err = attacker.Create(t.Context(), forged, "k")
	require.NoError(t, err)
	signature := attacker.Sign([]byte("manifest"))
	for name, reader := range map[string]*Ring{
		"with a secret": ring(t, Config{Secrets: []Secret{rawSecret(1)}, Identities: []Secret{identity}}),
		"with a signer": ring(t, Config{Identities: []Secret{identity}, Signers: []string{encode(rawRing(t, 1).Sign(nil)[:32])}}),
	} {
		t.Run(name, func(t *testing.T) {
			key, err := reader.Open(t.Context(), forged, "k")
			require.NoError(t, err)
			requireKind(t, reader.VerifyFor(key, []byte("manifest"), signature), fault.IntegrityError, "k")
		})
	}
	known := ring(t, Config{Identities: []Secret{identity}, Signers: []string{encode(signature[:32])}})
	key, err := known.Open(t.Context(), forged, "k")
	require.NoError(t, err)
	require.NoError(t, known.VerifyFor(key, []byte("manifest"), signature))
}

func TestOnlyARingWithASecretWrites(t *testing.T) {
	identity, _, err := NewIdentity()
	require.NoError(t, err)
	reader := ring(t, Config{Identities: []Secret{identity}})
	_, err = reader.Create(t.Context(), newSlots(), "k")
	requireKind(t, err, fault.KeyUnavailable, "k")
	require.Nil(t, reader.Sign([]byte("x")))
	requireKind(t, reader.Verify([]byte("x"), nil), fault.IntegrityError, "signature")
	_, err = rawRing(t, 1).Create(t.Context(), newSlots(), "../k")
	requireKind(t, err, fault.InputInvalid, "../k")
}

func TestSignaturesAreThoseOfKnownSecrets(t *testing.T) {
	r := rawRing(t, 1, 2)
	sig := r.Sign([]byte("entry"))
	require.Len(t, sig, SignatureSize)
	require.NoError(t, r.Verify([]byte("entry"), sig))
	require.NoError(t, rawRing(t, 2, 1).Verify([]byte("entry"), sig), "the order of secrets does not matter to a reader")
	for at := range sig {
		changed := bytes.Clone(sig)
		changed[at] ^= 1
		requireKind(t, r.Verify([]byte("entry"), changed), fault.IntegrityError, "signature")
	}
	requireKind(t, rawRing(t, 3).Verify([]byte("entry"), sig), fault.IntegrityError, "signature")
}

func TestKeysAreTakenInEveryWrittenForm(t *testing.T) {
	b := bytes.Repeat([]byte{0xfb, 0xef}, 16)
	want := rawRingOf(t, hex.EncodeToString(b)).Sign(nil)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b),
		base64.URLEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), " " + hex.EncodeToString(b) + "\n",
	} {
		require.Equal(t, want, rawRingOf(t, text).Sign(nil))
	}
	for name, c := range map[string]Config{
		"none":      {},
		"short":     {Secrets: []Secret{NewSecret([]byte("hunter2"))}},
		"empty":     {Secrets: []Secret{{}}},
		"recipient": {Secrets: []Secret{rawSecret(1)}, Recipients: []string{"age1xyz"}},
		"identity":  {Identities: []Secret{NewSecret([]byte("hunter2hunter2"))}},
		"signer":    {Secrets: []Secret{rawSecret(1)}, Signers: []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRing(c)
			requireKind(t, err, fault.ConfigInvalid, "keys.")
			require.NotEmpty(t, fault.HintOf(err))
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func rawRingOf(t *testing.T, text string) *Ring {
	return ring(t, Config{Secrets: []Secret{NewSecret([]byte(text))}})
}

func TestSecretsShowThemselvesToNobody(t *testing.T) {
	s := NewSecret([]byte("hunter2"))
	asJSON, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": []Secret{s}})
	require.NoError(t, err)
	key, err := rawRing(t, 1).Create(t.Context(), newSlots(), "k")
	require.NoError(t, err)
	asText := fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s) + string(asJSON) + fmt.Sprint(struct{ S Secret }{s})
	require.NotContains(t, asText, "hunter2")
	require.NotContains(t, asText, hex.EncodeToString([]byte("hunter2")))
	require.NotContains(t, asText, "104 117")
	require.Equal(t, "data key k data key k", fmt.Sprintf("%v %#v", key, key))
	require.False(t, s.Empty())
	require.True(t, NewSecret([]byte(" \n")).Empty())
}

func TestObjectKeysAndMACsAreOneForEachUse(t *testing.T) {
	key, err := rawRing(t, 1).Create(t.Context(), newSlots(), "k")
	require.NoError(t, err)
	seen := map[string]bool{}
	for salt := range 100 {
		aead, err := key.AEAD(bytes.Repeat([]byte{byte(salt)}, 32))
		require.NoError(t, err)
		seen[string(aead.Seal(nil, make([]byte, 12), []byte("same"), nil))] = true
	}
	require.Len(t, seen, 100)
	require.Equal(t, key.MAC("a", []byte("bc")), key.MAC("a", []byte("bc")))
	require.NotEqual(t, key.MAC("a", []byte("bc")), key.MAC("a", []byte("b"), []byte("c")))
	require.NotEqual(t, key.MAC("a", []byte("bc")), key.MAC("b", []byte("bc")))
	require.Equal(t, key.ContentMAC("a", []byte("bc")), key.ContentMAC("a", []byte("bc")))
	require.NotEqual(t, key.ContentMAC("a", []byte("bc")), key.ContentMAC("b", []byte("bc")))
	require.NotEqual(t, key.ContentMAC("a", []byte("bc")), key.ContentMAC("a", []byte("bd")))
	require.NotEqual(t, key.ContentMAC("a", []byte("bc")), key.MAC("a", []byte("bc")))
	other, err := rawRing(t, 2).Create(t.Context(), newSlots(), "k")
	require.NoError(t, err)
	require.NotEqual(t, key.ContentMAC("a", []byte("bc")), other.ContentMAC("a", []byte("bc")))
}
