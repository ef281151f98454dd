package keys

import (
	"context"
	"encoding/json"
	"regexp"

	"github.com/frende/lifeboat/internal/fault"
)

// Slots is where wrapped copies lie: <prefix>/keys/<key-id>/<slot> of a store.
// They are never listed: who can write to the store may put any number there.
type Slots interface {
	// PutSlot stores one copy that must not exist yet; ObjectExists when it does.
	PutSlot(ctx context.Context, keyID, slot string, body []byte) error
	// GetSlot reads one copy; ObjectMissing when there is none.
	GetSlot(ctx context.Context, keyID, slot string) ([]byte, error)
}

// Slot is one wrapped copy as stored.
type Slot struct {
	Name string
	Body []byte
}

// firstSlot decides races: whoever puts it has made the key.
const firstSlot = "first"

// slotBody is a slot's JSON.
type slotBody struct {
	Version int               `json:"version"`
	Key     string            `json:"key"`
	Kind    string            `json:"kind"`
	Wrapper string            `json:"wrapper"`
	Salt    Base64            `json:"salt,omitempty"`
	Argon2  *argon2Parameters `json:"argon2,omitempty"`
	Wrapped Base64            `json:"wrapped"`
}

func (b slotBody) name() string { return b.Kind + "-" + b.Wrapper }

// context binds a wrapped copy to its key and its wrapping key.
func (b slotBody) context() []byte {
	return []byte("lifeboat slot 1\x00" + b.Key + "\x00" + b.Kind + "\x00" + b.Wrapper)
}

// getSlot is GetSlot, with nil for a copy that does not exist.
func getSlot(ctx context.Context, slots Slots, keyID, name string) (*Slot, error) {
	body, err := slots.GetSlot(ctx, keyID, name)
	if fault.Has(err, fault.ObjectMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Slot{Name: name, Body: body}, nil
}

func slotKey(keyID, slot string) string { return "keys/" + keyID + "/" + slot }

func parseSlot(keyID string, s *Slot) (slotBody, error) {
	var body slotBody
	if err := json.Unmarshal(s.Body, &body); err != nil {
		return slotBody{}, fault.Newf(fault.IntegrityError, "read key slot", slotKey(keyID, s.Name), "not a slot: %v", err)
	}
	if body.Version != 1 {
		return slotBody{}, fault.Newf(fault.FormatUnsupported, "read key slot", slotKey(keyID, s.Name), "slot version %d", body.Version)
	}
	if body.Key != keyID {
		return slotBody{}, fault.Newf(fault.IntegrityError, "read key slot", slotKey(keyID, s.Name), "it belongs to another key")
	}
	return body, nil
}

var keyIDPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

func checkKeyID(op, keyID string) error {
	if !keyIDPattern.MatchString(keyID) {
		return fault.Newf(fault.InputInvalid, op, keyID, "a key id has lower-case letters, digits, dots, dashes and underscores")
	}
	return nil
}
