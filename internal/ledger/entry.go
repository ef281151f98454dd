package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
)

const (
	folder    = "ledger/"
	version   = 1
	digits    = 12       // of a number in a key, so that keys sort
	maxBody   = 8 << 20  // bytes of a body
	maxObject = 12 << 20 // bytes of an object: a sealed body in base64 and its header
	saltSize  = 32

	signatureDomain = "lifeboat ledger record 1\x00"
)

// envelope is an object of the ledger.
type envelope struct {
	Record    json.RawMessage `json:"record"`
	Signature keys.Base64     `json:"signature,omitempty"` // of signatureDomain and the record's bytes
}

// record is the signed part. Its last field is the sealed body; what stands
// before it, closed by a brace, is the associated data.
type record struct {
	Version  int             `json:"version"`
	Writer   string          `json:"writer"`
	Sequence int64           `json:"sequence"`
	Previous string          `json:"previous"`
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"`
	Kind     string          `json:"kind"`
	Subject  string          `json:"subject"`
	Key      string          `json:"key,omitempty"`    // data key of the body; "" when it is clear
	Body     json.RawMessage `json:"body,omitempty"`   // when it is clear
	Sealed   keys.Base64     `json:"sealed,omitempty"` // salt, then AES-256-GCM with a nonce of zeros
}

// stored is a parsed object.
type stored struct {
	Entry
	record    record
	signed    []byte
	signature []byte
}

// encode gives the object of an entry.
func (l *Ledger) encode(ctx context.Context, e Entry) ([]byte, error) {
	r := record{
		Version: version, Writer: e.Writer, Sequence: e.Sequence, Previous: e.Previous,
		ID: e.ID, Time: e.Time, Kind: e.Kind, Subject: e.Subject,
	}
	if l.cfg.Keys == nil {
		r.Body = e.Body
	} else if err := l.seal(ctx, &r, e.Body); err != nil {
		return nil, err
	}
	signed, err := json.Marshal(r)
	if err != nil {
		return nil, fault.New(fault.InputInvalid, "encode ledger record", e.Subject, err)
	}
	wrapped := envelope{Record: signed}
	if l.cfg.Keys != nil {
		wrapped.Signature = l.cfg.Keys.Sign(append([]byte(signatureDomain), signed...))
	}
	object, err := json.Marshal(wrapped)
	if err != nil {
		return nil, fault.New(fault.InputInvalid, "encode ledger record", e.Subject, err)
	}
	return object, nil
}

func (l *Ledger) seal(ctx context.Context, r *record, body []byte) error {
	dataKey, err := l.dataKey(ctx, "ledger-"+r.Writer, l.cfg.Keys.Create)
	if err != nil {
		return err
	}
	r.Key = dataKey.ID()
	associated, err := json.Marshal(r)
	if err != nil {
		return fault.New(fault.InputInvalid, "encode ledger record", r.Subject, err)
	}
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return fault.New(fault.KeyUnavailable, "seal ledger record", r.Subject, err)
	}
	aead, err := dataKey.AEAD(salt)
	if err != nil {
		return err
	}
	r.Sealed = aead.Seal(salt, make([]byte, aead.NonceSize()), body, associated)
	return nil
}

// parse reads the clear part of an object, and holds it against its key.
func parse(writer string, number int64, object []byte) (stored, error) {
	bad := func(why error) (stored, error) {
		return stored{}, fault.New(fault.IntegrityError, "read ledger record", key(writer, number), why)
	}
	var wrapped envelope
	if err := json.Unmarshal(object, &wrapped); err != nil {
		return bad(err)
	}
	var r record
	if err := json.Unmarshal(wrapped.Record, &r); err != nil {
		return bad(err)
	}
	if r.Version != version {
		return stored{}, fault.Newf(fault.FormatUnsupported, "read ledger record", key(writer, number), "its version is %d", r.Version)
	}
	if r.Writer != writer || r.Sequence != number {
		return bad(fmt.Errorf("it says that it is record %d of %s", r.Sequence, r.Writer))
	}
	return stored{
		Entry: Entry{
			Writer: r.Writer, Sequence: r.Sequence, ID: r.ID, Time: r.Time, Kind: r.Kind, Subject: r.Subject,
			Hash: hash(object), Previous: r.Previous,
		},
		record: r, signed: wrapped.Record, signature: wrapped.Signature,
	}, nil
}

// open checks the signature and opens the body.
func (l *Ledger) open(ctx context.Context, s stored) (Entry, error) {
	subject := key(s.Writer, s.Sequence)
	if s.record.Key == "" {
		if l.cfg.Keys != nil {
			return Entry{}, fault.Newf(fault.IntegrityError, "read ledger record", subject, "it is neither sealed nor signed")
		}
		s.Body = s.record.Body
		return s.Entry, nil
	}
	if l.cfg.Keys == nil {
		return Entry{}, fault.Newf(fault.KeyUnavailable, "read ledger record", subject, "it is sealed under %s", s.record.Key)
	}
	dataKey, err := l.dataKey(ctx, s.record.Key, l.cfg.Keys.Open)
	if err != nil {
		return Entry{}, err
	}
	message := append([]byte(signatureDomain), s.signed...)
	if known := l.cfg.Keys.Verify(message, s.signature); known != nil {
		if l.cfg.Keys.VerifyFor(dataKey, message, s.signature) != nil { // by a secret that is gone, which the key vouches for
			return Entry{}, fault.New(fault.IntegrityError, "read ledger record", subject, errors.New("no known key signed it"))
		}
	}
	if len(s.record.Sealed) < saltSize {
		return Entry{}, fault.New(fault.IntegrityError, "read ledger record", subject, errors.New("its body is cut off"))
	}
	sealed := s.record.Sealed
	s.record.Sealed = nil
	associated, err := json.Marshal(s.record)
	if err != nil {
		return Entry{}, fault.New(fault.IntegrityError, "read ledger record", subject, err)
	}
	aead, err := dataKey.AEAD(sealed[:saltSize])
	if err != nil {
		return Entry{}, err
	}
	s.Body, err = aead.Open(nil, make([]byte, aead.NonceSize()), sealed[saltSize:], associated)
	if err != nil {
		return Entry{}, fault.New(fault.IntegrityError, "read ledger record", subject, err)
	}
	return s.Entry, nil
}

// dataKey gives a key by its id, by Create or Open, once per process.
func (l *Ledger) dataKey(ctx context.Context, id string, from func(context.Context, keys.Slots, string) (*keys.DataKey, error)) (*keys.DataKey, error) {
	l.keyMu.Lock()
	defer l.keyMu.Unlock()
	if found := l.keys[id]; found != nil {
		return found, nil
	}
	found, err := from(ctx, l.slots, id)
	if err != nil {
		return nil, err
	}
	l.keys[id] = found
	return found, nil
}

func key(writer string, number int64) string {
	return fmt.Sprintf("%s%s/%0*d", folder, writer, digits, number)
}

func parseKey(name string) (writer string, number int64, ok bool) {
	writer, tail, found := strings.Cut(strings.TrimPrefix(name, folder), "/")
	number, err := strconv.ParseInt(tail, 10, 64)
	return writer, number, found && err == nil && key(writer, number) == name
}

func hash(object []byte) string {
	sum := sha256.Sum256(object)
	return hex.EncodeToString(sum[:])
}
