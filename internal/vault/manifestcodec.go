package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
)

// maxInline is how many objects the root manifest names by itself. With more
// than that they move to tables, and the root stays small.
const maxInline = 1024

var (
	errExtent   = errors.New("an extent has other than four numbers")
	errManifest = errors.New("manifest contradicts itself")
)

// table is what moves out of a big manifest.
type table struct {
	Objects []Object            `json:"objects"`
	Extents map[string][]Extent `json:"extents"`
}

func manifestKey(backup string) string { return backup + "/manifest" }

func signedBytes(key string, body []byte) []byte {
	return append([]byte("lifeboat manifest 1\x00"+key+"\x00"), body...)
}

// encodeManifest gives the manifest's plaintext: signature and JSON.
func encodeManifest(m *Manifest, ring *keys.Ring) ([]byte, error) {
	stored := *m
	stored.Objects = shorten(m, m.Objects)
	stored.Tables = shorten(m, m.Tables)
	body, err := json.Marshal(&stored)
	if err != nil {
		return nil, fault.New(fault.InputInvalid, "write manifest", m.Key, err)
	}
	signature := ring.Sign(signedBytes(manifestKey(m.Key), body))
	if signature == nil {
		return nil, fault.Newf(fault.KeyUnavailable, "sign manifest", m.Key, "no configured key signs")
	}
	return append(signature, body...), nil
}

// shorten leaves out what the manifest says for all objects.
func shorten(m *Manifest, objects []Object) []Object {
	short := make([]Object, len(objects))
	for i, o := range objects {
		if o.KeyID == m.KeyID {
			o.KeyID = ""
		}
		if o.Codec == m.Codec {
			o.Codec = ""
		}
		if o.Version == m.Version {
			o.Version = 0
		}
		short[i] = o
	}
	return short
}

func (m *Manifest) lengthen(objects []Object, k kind) {
	for i := range objects {
		o := &objects[i]
		o.kind = k
		if o.KeyID == "" {
			o.KeyID = m.KeyID
		}
		if o.Codec == "" {
			o.Codec = m.Codec
		}
		if o.Version == 0 {
			o.Version = m.Version
		}
	}
}

// decodeManifest reads the root; its tables are not read yet.
func decodeManifest(backup string, h *header, plain []byte, ring *keys.Ring, key *keys.DataKey) (*Manifest, error) {
	object := manifestKey(backup)
	if len(plain) < keys.SignatureSize {
		return nil, fault.New(fault.IntegrityError, "read manifest", object, errTruncated)
	}
	body := plain[keys.SignatureSize:]
	if err := ring.VerifyFor(key, signedBytes(object, body), plain[:keys.SignatureSize]); err != nil {
		return nil, fault.Newf(fault.IntegrityError, "read manifest", object, "its signature is not that of a known signer")
	}
	return parseManifest(backup, h.KeyID, body)
}

func parseManifest(backup, keyID string, body []byte) (*Manifest, error) {
	object := manifestKey(backup)
	var said struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fault.New(fault.IntegrityError, "read manifest", object, err)
	}
	if said.Version < 1 || said.Version > int(newest) {
		return nil, fault.Newf(fault.FormatUnsupported, "read manifest", object, "manifest version %d", said.Version)
	}
	m := new(Manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fault.New(fault.IntegrityError, "read manifest", object, err)
	}
	m.lengthen(m.Objects, kindChunk)
	m.lengthen(m.Tables, kindTable)
	if m.Key != backup || m.KeyID != keyID || (len(m.Tables) > 0 && len(m.Objects) > 0) {
		return nil, fault.New(fault.IntegrityError, "read manifest", object, errManifest)
	}
	for i := range m.Tables {
		if _, ok := m.Tables[i].head(); !ok {
			return nil, fault.New(fault.IntegrityError, "read manifest", object, errManifest)
		}
	}
	if len(m.Tables) == 0 {
		return m, m.check()
	}
	return m, nil
}

// check holds the manifest to its own numbers: nothing read later can overflow or point outside.
func (m *Manifest) check() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.IntegrityError, "read manifest", manifestKey(m.Key), fmt.Errorf("%w: "+format, append([]any{errManifest}, args...)...))
	}
	for i := range m.Objects {
		if _, ok := m.Objects[i].head(); !ok {
			return bad("object %d", i)
		}
	}
	seen := map[string]bool{}
	var all int64
	for _, s := range m.Streams {
		if s.Name == "" || len(s.Name) > 255 || seen[s.Name] {
			return bad("stream %q", s.Name)
		}
		seen[s.Name] = true
		var total int64
		for i, e := range s.Extents {
			if e.Object < 0 || e.Object >= len(m.Objects) {
				return bad("extent %d of stream %q", i, s.Name)
			}
			o := &m.Objects[e.Object]
			frames := o.frames()
			if e.First < 0 || e.Frames < 1 || e.First >= frames || e.Frames > frames-e.First || e.Bytes != o.span(e.First, e.Frames) {
				return bad("extent %d of stream %q", i, s.Name)
			}
			total += e.Bytes
		}
		if total != s.Bytes {
			return bad("length of stream %q", s.Name)
		}
		all += total
	}
	if all != m.Bytes {
		return bad("length of all streams")
	}
	return nil
}

// moveOut cuts what is long out of the root and gives it as slices to be sealed.
func (m *Manifest) moveOut(limit int) (root Manifest, slices [][]byte, err error) {
	root = *m
	if len(m.Objects) <= limit {
		return root, nil, nil
	}
	out := table{Objects: shorten(m, m.Objects), Extents: map[string][]Extent{}}
	root.Objects, root.Streams = nil, make([]Stream, len(m.Streams))
	for i, s := range m.Streams {
		out.Extents[s.Name] = s.Extents
		root.Streams[i] = Stream{Name: s.Name, Bytes: s.Bytes}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return root, nil, fault.New(fault.InputInvalid, "write manifest", m.Key, err)
	}
	for len(raw) > 0 {
		n := min(len(raw), DefaultChunkSize)
		slices = append(slices, raw[:n])
		raw = raw[n:]
	}
	return root, slices, nil
}

// moveIn reads the tables of a root that has them.
func (v *Vault) moveIn(ctx context.Context, m *Manifest) error {
	if len(m.Tables) == 0 {
		return nil
	}
	var raw bytes.Buffer
	for i := range m.Tables {
		part, err := v.readWhole(ctx, v.openRun(ctx, &m.Tables[i], 0, m.Tables[i].frames()), nil)
		if err != nil {
			return err
		}
		raw.Write(part)
	}
	var in table
	if err := json.Unmarshal(raw.Bytes(), &in); err != nil {
		return fault.New(fault.IntegrityError, "read manifest", m.Tables[0].Key, err)
	}
	m.Objects = in.Objects
	m.lengthen(m.Objects, kindChunk)
	for i := range m.Streams {
		m.Streams[i].Extents = in.Extents[m.Streams[i].Name]
	}
	return m.check()
}
