package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
)

const (
	leaseEvery = time.Minute   // a lease is renewed no more often
	leaseFor   = 6 * time.Hour // how long an attempt is taken to be alive after its last lease
)

// Writer makes one backup. Its methods may be called concurrently. Close it in
// any case: that gives its memory back.
type Writer struct {
	v       *Vault
	ctx     context.Context
	cancel  context.CancelCauseFunc
	intent  intentRecord
	codec   codec
	dense   bool
	frame   int         // bytes of plaintext in a frame
	macs    bool        // frames can be found by their content
	donor   *Donor      // whose frames are shared; nil: none
	table   *macsWriter // nil: the frames have no MACs
	attempt string      // name of the attempt's folder
	dataKey *keys.DataKey
	started time.Time

	committed *Manifest
	puts      chan struct{} // a place for each chunk that is sealed and put
	next      atomic.Int64  // number of the next chunk object
	in        atomic.Int64
	stored    atomic.Int64

	mu      sync.Mutex
	streams []*StreamWriter
	leased  time.Time
	closed  bool
}

// Progress is how far a writer has come.
type Progress struct {
	In     int64 // bytes of plaintext taken
	Stored int64 // bytes put
}

// Begin starts a backup, or starts it again: with the RunID that owns it the
// Writer has a new attempt folder of the same backup; with another it is
// BackupConflict. When that run has finished the backup already, Committed gives
// its manifest and there is nothing to do. ctx governs all that the writer does.
func (v *Vault) Begin(ctx context.Context, in Intent) (*Writer, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Codec == "" {
		in.Codec = codecZstd.String()
	}
	if _, ok := parseCodec(in.Codec); !ok {
		return nil, fault.Newf(fault.InputInvalid, "begin backup", in.Key(), "there is no codec %q", in.Codec).WithHint("use zstd, gzip or none")
	}
	if err := v.claim(ctx, in.System); err != nil {
		return nil, err
	}
	intent, again, err := v.putIntent(ctx, in)
	if err != nil {
		return nil, err
	}
	w := &Writer{v: v, intent: intent, puts: make(chan struct{}, v.cfg.Parallel), started: v.now()}
	w.codec, _ = parseCodec(intent.Codec)
	w.dense = in.Dense
	w.frame, w.macs = v.cfg.FrameSize, in.FrameSize > 0
	if w.macs {
		w.frame = min(in.FrameSize, v.cfg.ChunkSize)
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if again {
		w.committed, err = v.own(ctx, intent)
	}
	if err == nil && w.committed == nil {
		err = w.prepare(in.Attempt)
	}
	if err == nil && w.committed == nil && w.macs {
		w.table, err = w.createTable(ctx)
	}
	if err != nil {
		w.cancel(err)
		return nil, err
	}
	return w, nil
}

// prepare names the attempt's folder, makes the data key and takes the first lease.
func (w *Writer) prepare(attempt int32) error {
	random, err := randomHex(4)
	if err != nil {
		return err
	}
	w.attempt = fmt.Sprintf("%d-%s", attempt, random)
	if w.dataKey, err = w.v.writeKey(w.ctx, w.intent.KeyID); err != nil {
		return err
	}
	return w.renew()
}

// putIntent writes the intent, or finds our own (again) or another run's (BackupConflict).
func (v *Vault) putIntent(ctx context.Context, in Intent) (intent intentRecord, again bool, err error) {
	random, err := randomHex(8)
	if err != nil {
		return intentRecord{}, false, err
	}
	intent = intentRecord{
		Version: formatVersion, Key: in.Key(), System: in.System, Component: in.Component, Folder: in.Folder, Kind: in.Kind,
		RunID: in.RunID, By: in.By, At: in.At.UTC().Truncate(time.Second), Codec: in.Codec, KeyID: in.At.UTC().Format("20060102") + "-" + random,
	}
	raw, err := json.Marshal(intent)
	if err != nil {
		return intentRecord{}, false, fault.New(fault.InputInvalid, "begin backup", in.Key(), err)
	}
	at := intent.Key + "/intent"
	if _, err := v.cfg.Store.Put(ctx, at, raw, store.PutOptions{IfNoneMatch: true}); err == nil {
		return intent, false, nil
	} else if !fault.Has(err, fault.ObjectExists) {
		return intentRecord{}, false, err
	}
	if raw, err = readSmall(ctx, v.cfg.Store, at); err != nil {
		return intentRecord{}, false, err
	}
	var found intentRecord
	if err := json.Unmarshal(raw, &found); err != nil || found.Key != intent.Key {
		return intentRecord{}, false, fault.Newf(fault.IntegrityError, "begin backup", at, "not what Lifeboat writes")
	}
	if found.Version != formatVersion {
		return intentRecord{}, false, fault.Newf(fault.FormatUnsupported, "begin backup", at, "intent version %d", found.Version)
	}
	if found.RunID != intent.RunID {
		return intentRecord{}, false, fault.Newf(fault.BackupConflict, "begin backup", intent.Key, "it belongs to run %s by %s", found.RunID, found.By)
	}
	if _, ok := parseCodec(found.Codec); !ok {
		return intentRecord{}, false, fault.Newf(fault.FormatUnsupported, "begin backup", at, "codec %q", found.Codec)
	}
	return found, true, nil
}

// own gives the manifest when the run that the intent belongs to has written
// it, nil when there is none, and BackupConflict when its place is taken.
func (v *Vault) own(ctx context.Context, intent intentRecord) (*Manifest, error) {
	primary := v.WithStores(v.cfg.Store, nil)
	found, err := primary.readManifest(ctx, intent.Key)
	switch {
	case err == nil && found.RunID == intent.RunID:
		return found, nil
	case err == nil:
		return nil, fault.Newf(fault.BackupConflict, "finish backup", intent.Key, "run %s has finished it", found.RunID)
	case fault.Has(err, fault.ObjectMissing):
		return nil, nil
	case fault.Has(err, fault.BackupIncomplete):
		return nil, fault.Newf(fault.BackupConflict, "finish backup", intent.Key, "it was given up and its chunks are being removed").
			WithHint("start a new backup")
	}
	return nil, err
}

// Share has the streams that are created from now on name frames of an earlier
// backup where they hold the same: StreamWriter.Align says where to look. Where the store
// locks what is put, nothing is shared of which more than half of the lock is over: so
// everything that a backup is made of stays locked for at least half of its time.
func (w *Writer) Share(donor *Donor) error {
	oldest, err := w.v.lockedSince(w.ctx, w.intent.Key+"/intent")
	if err != nil {
		return err
	}
	donor.oldest, w.donor = oldest, donor
	return nil
}

// Key is the backup's key.
func (w *Writer) Key() string { return w.intent.Key }

// Committed is the manifest when this run has finished the backup before, else nil.
func (w *Writer) Committed() *Manifest { return w.committed }

// Progress is how far the writer has come.
func (w *Writer) Progress() Progress { return Progress{In: w.in.Load(), Stored: w.stored.Load()} }

// Close ends all that is under way and gives the memory back. After Commit it
// does nothing; without it, the backup stays incomplete.
func (w *Writer) Close() error {
	w.cancel(fault.Newf(fault.Aborted, "write backup", w.intent.Key, "the writer was closed"))
	w.mu.Lock()
	w.closed = true
	streams := w.streams
	w.mu.Unlock()
	for _, s := range streams {
		s.abandon()
	}
	return nil
}

// renew writes a lease when the last one is a minute old.
func (w *Writer) renew() error {
	now := w.v.now()
	w.mu.Lock()
	due := now.Sub(w.leased) >= leaseEvery
	if due {
		w.leased = now
	}
	w.mu.Unlock()
	if !due {
		return nil
	}
	raw, err := json.Marshal(leaseRecord{RunID: w.intent.RunID, Attempt: w.attempt, At: now, Until: now.Add(leaseFor)})
	if err != nil {
		return fault.New(fault.InputInvalid, "renew lease", w.intent.Key, err)
	}
	at := fmt.Sprintf("%s/lease/%s-%s", w.intent.Key, now.Format("20060102T150405Z"), w.attempt)
	return w.v.putOnce(w.ctx, at, raw)
}

// Commit writes the manifest, last. All streams must be closed. When the
// manifest is there already and is our run's, that one is given and it is
// success: an acknowledgement was lost, or another attempt was faster.
func (w *Writer) Commit(ctx context.Context, facts Facts) (*Manifest, error) {
	if w.committed != nil {
		return w.committed, nil
	}
	if err := w.complete(); err != nil {
		return nil, err
	}
	m, err := w.manifest(facts)
	if err != nil {
		return nil, err
	}
	if m.Base != "" {
		if err := w.donor.remains(ctx); err != nil {
			return nil, err
		}
	}
	root, err := w.putTables(m)
	if err != nil {
		return nil, err
	}
	plain, err := encodeManifest(&root, w.v.cfg.Keys)
	if err != nil {
		return nil, err
	}
	object, err := w.sealSmall(header{Kind: kindManifest, Codec: codecZstd, Key: manifestKey(m.Key)}, plain)
	if err != nil {
		return nil, err
	}
	_, err = w.v.cfg.Store.Put(ctx, manifestKey(m.Key), object.body, store.PutOptions{IfNoneMatch: true})
	if fault.Has(err, fault.ObjectExists) {
		found, ownErr := w.v.own(ctx, w.intent)
		if ownErr == nil && found == nil {
			ownErr = err
		}
		m, err = found, ownErr
	}
	if err != nil {
		return nil, err
	}
	w.committed = m
	return m, nil
}

// complete closes the table of MACs, once all other streams are.
func (w *Writer) complete() error {
	w.mu.Lock()
	streams := slices.Clone(w.streams)
	w.mu.Unlock()
	for _, s := range streams {
		if w.table.is(s) {
			continue
		}
		if _, err := s.finished(); err != nil {
			return err
		}
	}
	return w.table.close()
}

// manifest gathers what the streams have written.
func (w *Writer) manifest(facts Facts) (*Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &Manifest{
		Version: int(w.v.writes), Key: w.intent.Key, System: w.intent.System, Component: w.intent.Component, Folder: w.intent.Folder, Kind: w.intent.Kind,
		RunID: w.intent.RunID, Attempt: w.attempt, By: w.intent.By, KeyID: w.intent.KeyID, Codec: w.codec.String(),
		Started: w.started, Finished: w.v.now(), Facts: facts, Streams: []Stream{},
	}
	shared := map[int]int{} // place of an object in the donor's manifest, and here
	for _, s := range w.streams {
		chunks, err := s.finished()
		if err != nil {
			return nil, err
		}
		out := Stream{Name: s.name}
		for _, c := range chunks {
			own := len(m.Objects)
			if c.object.Key != "" {
				m.Objects = append(m.Objects, c.object)
				m.Stored += c.object.Length
			}
			for _, p := range c.pieces {
				e := p.extent
				if p.shared {
					place, known := shared[e.Object]
					if !known {
						place = len(m.Objects)
						shared[e.Object] = place
						object := w.donor.b.manifest.Objects[e.Object]
						object.MACsAt = w.table.of(e.Object)
						m.Objects = append(m.Objects, object)
						m.Base = w.donor.b.manifest.Key
					}
					e.Object = place
				} else {
					e.Object = own
				}
				out.add(e)
			}
		}
		m.Streams = append(m.Streams, out)
		m.Bytes += out.Bytes
	}
	return m, m.check()
}

// putTables stores what is too long for the root, and gives the root.
func (w *Writer) putTables(m *Manifest) (Manifest, error) {
	root, slices, err := m.moveOut(maxInline)
	if err != nil {
		return root, err
	}
	for i, slice := range slices {
		key := fmt.Sprintf("%s/table/%s/%06d", m.Key, w.attempt, i)
		sealed, err := w.sealSmall(header{Kind: kindTable, Codec: w.codec, Key: key, Stream: "table", Chunk: uint32(i)}, slice)
		if err != nil {
			return root, err
		}
		if err := w.v.putOnce(w.ctx, key, sealed.body); err != nil {
			return root, err
		}
		root.Tables = append(root.Tables, sealed.object)
	}
	m.Tables = root.Tables
	return root, nil
}

// sealedObject is an object ready to be put, and as a manifest names it.
type sealedObject struct {
	body   []byte
	object Object
}

// sealSmall seals what lies outside the streams.
func (w *Writer) sealSmall(h header, plain []byte) (sealedObject, error) {
	frame := w.v.cfg.FrameSize
	h.Version, h.KeyID, h.FrameSize = w.v.writes, w.intent.KeyID, uint32(frame)
	s := sealing{codecs: w.v.codecs, key: w.dataKey, header: h}
	body, tag, err := s.seal(make([]byte, boundFor(h.Codec, frame, len(plain))), make([]byte, scratchSize(h.Codec, frame)), plain)
	if err != nil {
		return sealedObject{}, err
	}
	return sealedObject{body: body, object: objectOf(&s.header, int64(len(body)), tag)}, nil
}

// objectOf describes a sealed object as a manifest does.
func objectOf(h *header, length int64, tag string) Object {
	return Object{
		Key: h.Key, KeyID: h.KeyID, Length: length, Tag: tag, Codec: h.Codec.String(), Stream: h.Stream, Chunk: int(h.Chunk),
		FrameSize: int(h.FrameSize), Bytes: int64(h.Plain), MACs: h.MACs, Version: int(h.Version), kind: h.Kind,
	}
}
