package temporal

import (
	"errors"
	"strings"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
)

// SettingPayloadKeys is where the keys of payloads are configured.
const SettingPayloadKeys = "temporal.payload_keys"

// Metadata of a sealed payload. The names are those that Temporal's own examples use.
const (
	encodingSealed = "binary/encrypted"
	metadataKeyID  = "encryption-key-id"
)

// Payloads turns values into what Temporal stores, and back. With keys, inputs,
// results, signals, queries, updates, memos, summaries, details and failures are
// sealed with AES-256-GCM before they leave this process; without, they are as
// they are. What is in the clear is read either way. Never sealed: IDs, names of
// types and queues, and search attributes, which Temporal itself must read.
type Payloads struct {
	codec    *codec
	values   converter.DataConverter
	failures converter.FailureConverter
}

// NewPayloads makes Payloads that seal with the first key and open with any of
// them; without a key they seal nothing.
func NewPayloads(secrets []keys.Secret) (*Payloads, error) {
	box, err := keys.NewBox(SettingPayloadKeys, secrets)
	if err != nil {
		return nil, err
	}
	return newPayloads(box), nil
}

// inTheClear are Payloads without a key.
func inTheClear() *Payloads { return newPayloads(&keys.Box{}) }

func newPayloads(box *keys.Box) *Payloads {
	c := &codec{box: box}
	values := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), c)
	return &Payloads{codec: c, values: values, failures: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: values, EncodeCommonAttributes: box.Seals(),
	})}
}

// Seals says whether there is a key to seal with.
func (p *Payloads) Seals() bool { return p.codec.box.Seals() }

// KeyIDs are the IDs of the keys, the one that seals first.
func (p *Payloads) KeyIDs() []string { return p.codec.box.KeyIDs() }

// Codec is the part that seals and opens.
func (p *Payloads) Codec() converter.PayloadCodec { return p.codec }

// Value reads stored payloads into a value.
func (p *Payloads) Value(stored *common.Payloads, into any) error {
	return p.values.FromPayloads(stored, into)
}

// Message is the first line of a stored failure; "" for none.
func (p *Payloads) Message(stored *failure.Failure) string {
	if stored == nil {
		return ""
	}
	opened := proto.CloneOf(stored)
	converter.DecodeCommonFailureAttributes(p.values, opened)
	line, _, _ := strings.Cut(opened.GetMessage(), "\n")
	return line
}

func (p *Payloads) apply(options *client.Options) {
	options.DataConverter, options.FailureConverter = p.values, p.failures
}

// codec seals payloads whole, their encoding included.
type codec struct{ box *keys.Box }

var _ converter.PayloadCodec = (*codec)(nil)

// Encode seals; without a key it changes nothing.
func (c *codec) Encode(payloads []*common.Payload) ([]*common.Payload, error) {
	if !c.box.Seals() {
		return payloads, nil
	}
	keyID := c.box.KeyIDs()[0]
	sealed := make([]*common.Payload, len(payloads))
	for i, payload := range payloads {
		plain, err := proto.Marshal(payload)
		if err != nil {
			return payloads, fault.New(fault.InputInvalid, "encode", "payload", err)
		}
		data, err := c.box.Seal(plain, known(keyID))
		if err != nil {
			return payloads, err
		}
		sealed[i] = &common.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encodingSealed), metadataKeyID: []byte(keyID)},
			Data:     data,
		}
	}
	return sealed, nil
}

// Decode opens what is sealed and leaves the rest as it is: a person may give an
// input in the clear, and histories may be older than the key.
func (c *codec) Decode(payloads []*common.Payload) ([]*common.Payload, error) {
	opened := make([]*common.Payload, len(payloads))
	for i, payload := range payloads {
		opened[i] = payload
		if string(payload.GetMetadata()[converter.MetadataEncoding]) != encodingSealed {
			continue
		}
		keyID := string(payload.GetMetadata()[metadataKeyID])
		plain, err := c.box.Open(keyID, payload.GetData(), known(keyID))
		if err != nil {
			if missing, ok := errors.AsType[*fault.Error](err); ok && missing.Kind == fault.KeyUnavailable {
				err = missing.WithHint("add the key with this ID to %s, behind the one that seals; see the IDs of those that are there with: lifeboat codec keys", SettingPayloadKeys)
			}
			return payloads, err
		}
		opened[i] = &common.Payload{}
		if err := proto.Unmarshal(plain, opened[i]); err != nil {
			return payloads, fault.New(fault.IntegrityError, "decode", "payload", err)
		}
	}
	return opened, nil
}

// known is what is sealed with a payload and stands in the clear.
func known(keyID string) []byte { return []byte("lifeboat payload 1\x00" + keyID) }
