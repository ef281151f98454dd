package vault

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Facts is what a source says of itself, by name: "postgres", "redis", "tree".
// They are sealed in the manifest.
type Facts map[string]json.RawMessage

// Manifest is the root of a backup: what it is, and where every byte of it lies.
type Manifest struct {
	Version   int       `json:"version"`
	Key       string    `json:"key"`
	System    string    `json:"system"`
	Component string    `json:"component"`
	Folder    string    `json:"folder"`
	Kind      string    `json:"kind"`
	RunID     string    `json:"run_id"`
	Attempt   string    `json:"attempt"`
	By        string    `json:"by,omitempty"`
	KeyID     string    `json:"key_id"`
	Codec     string    `json:"codec"`
	Base      string    `json:"base,omitempty"` // the backup it shares frames with; empty: it is full
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	Bytes     int64     `json:"bytes"`  // plaintext of all streams
	Stored    int64     `json:"stored"` // length of the backup's own objects
	Objects   []Object  `json:"objects,omitempty"`
	Streams   []Stream  `json:"streams"`
	Tables    []Object  `json:"tables,omitempty"`
	Facts     Facts     `json:"facts,omitempty"`
}

// Stream is one named run of bytes of a backup.
type Stream struct {
	Name    string   `json:"name"`
	Bytes   int64    `json:"bytes"`
	Extents []Extent `json:"extents,omitempty"`
}

// add appends an extent, as part of the last one when it goes on there.
func (s *Stream) add(e Extent) {
	s.Bytes += e.Bytes
	if n := len(s.Extents); n > 0 {
		last := &s.Extents[n-1]
		if last.Object == e.Object && last.First+last.Frames == e.First {
			last.Frames += e.Frames
			last.Bytes += e.Bytes
			return
		}
	}
	s.Extents = append(s.Extents, e)
}

// Extent is a run of whole frames in an object, maybe of an earlier backup. In
// JSON it is [object, first, frames, bytes].
type Extent struct {
	Object int   // place in the manifest's Objects
	First  int   // first frame
	Frames int   // how many
	Bytes  int64 // their plaintext
}

// MarshalJSON writes the four numbers.
func (e Extent) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]int64{int64(e.Object), int64(e.First), int64(e.Frames), e.Bytes})
}

// UnmarshalJSON reads the four numbers.
func (e *Extent) UnmarshalJSON(raw []byte) error {
	var numbers []int64
	if err := json.Unmarshal(raw, &numbers); err != nil {
		return err
	}
	if len(numbers) != 4 {
		return errExtent
	}
	*e = Extent{Object: int(numbers[0]), First: int(numbers[1]), Frames: int(numbers[2]), Bytes: numbers[3]}
	return nil
}

// Object is a sealed object as a manifest names it: all of its header but the
// salt, and its tag.
type Object struct {
	Key       string `json:"key"`
	KeyID     string `json:"key_id,omitempty"` // absent in JSON: the manifest's
	Length    int64  `json:"length"`
	Tag       string `json:"tag"`
	Codec     string `json:"codec,omitempty"` // absent in JSON: the manifest's
	Stream    string `json:"stream"`
	Chunk     int    `json:"chunk"`
	FrameSize int    `json:"frame"`
	Bytes     int64  `json:"bytes"`
	MACs      bool   `json:"macs,omitempty"`
	MACsAt    *int64 `json:"macs_at,omitempty"` // where its MACs begin in the table of MACs, in MACs; absent: nowhere
	Version   int    `json:"version,omitempty"` // of the object; absent in JSON: the manifest's

	kind kind
}

// head is the header that the object must have; ok is false when none can be like this.
func (o *Object) head() (h header, ok bool) {
	with, known := parseCodec(o.Codec)
	h = header{
		Version: version(o.Version), Kind: o.kind, Codec: with, MACs: o.MACs, KeyID: o.KeyID, Key: o.Key, Stream: o.Stream,
		Chunk: uint32(o.Chunk), FrameSize: uint32(o.FrameSize), Plain: uint32(o.Bytes),
	}
	ok = known && h.Version.known() && int(h.Version) == o.Version && o.Key != "" && o.Chunk >= 0 && o.Chunk <= 1<<31-1 && o.FrameSize >= 1 && o.FrameSize <= MaxFrameSize &&
		o.Bytes >= 0 && o.Bytes <= MaxChunkSize && h.size() <= headerMax && o.Length > 0 && o.Length <= 4*MaxChunkSize
	return h, ok
}

func (o *Object) frames() int {
	h, _ := o.head()
	return h.frames()
}

func (o *Object) headerSize() int {
	h, _ := o.head()
	return h.size()
}

// fits compares a header that was read with what the manifest says.
func (o *Object) fits(h *header) bool {
	want, _ := o.head()
	want.Salt = h.Salt
	return h.PlainMAC == nil && want == *h
}

// span is the plaintext of frames [first, first+count).
func (o *Object) span(first, count int) int64 {
	start := int64(first) * int64(o.FrameSize)
	return min(start+int64(count)*int64(o.FrameSize), o.Bytes) - start
}

// Shared is how much of Bytes lies in objects of earlier backups.
func (m *Manifest) Shared() int64 {
	var shared int64
	for _, s := range m.Streams {
		for _, e := range s.Extents {
			if !strings.HasPrefix(m.Objects[e.Object].Key, m.Key+"/") {
				shared += e.Bytes
			}
		}
	}
	return shared
}

// Fact reads one fact. InputInvalid: the manifest has none of that name.
func (m *Manifest) Fact(name string, into any) error {
	raw, ok := m.Facts[name]
	if !ok {
		return fault.Newf(fault.InputInvalid, "read facts", m.Key, "it says nothing of %q", name)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fault.New(fault.FormatUnsupported, "read facts", m.Key, err)
	}
	return nil
}

// Stream finds a stream by name. InputInvalid: there is none.
func (m *Manifest) Stream(name string) (*Stream, error) {
	for i := range m.Streams {
		if m.Streams[i].Name == name {
			return &m.Streams[i], nil
		}
	}
	return nil, fault.Newf(fault.InputInvalid, "open stream", m.Key, "it has no stream %q", name)
}
