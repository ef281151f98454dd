package window

import (
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// Folder of the store that base backups lie in, the end of their names, and the
// name of what their manifests say of the cluster.
const (
	folder = "database-backups"
	kind   = "base"
	fact   = "postgres"
)

// Config says whose window it is.
type Config struct {
	Vault     *vault.Vault
	Archive   *wal.Archive
	Component string // the database's name
	Until     string // the WAL segment that the newest point ends with; "": the archive's last
	Now       func() time.Time
}

// Base is a base backup.
type Base struct {
	Key         string       `json:"key"`
	SystemID    string       `json:"system_id"`
	Timeline    uint32       `json:"timeline"`
	StartLSN    postgres.LSN `json:"start_lsn"`
	StopLSN     postgres.LSN `json:"stop_lsn"` // nothing before it can be recovered to from this backup
	SegmentSize int64        `json:"segment_size"`
	Started     time.Time    `json:"started"`
	Finished    time.Time    `json:"finished"`
}

// ReadBase takes what is of interest here out of a manifest. InputInvalid: it is
// no base backup of the component.
func ReadBase(m *vault.Manifest, component string) (Base, error) {
	if m.Folder != folder || m.Kind != kind || m.Component != component {
		return Base{}, fault.Newf(fault.InputInvalid, "restore", m.Key, "it is no base backup of database %s", component).
			WithHint("list its backups with: lifeboat backups list")
	}
	b := Base{}
	err := m.Fact(fact, &b)
	b.Key = m.Key
	if b.SegmentSize == 0 {
		b.SegmentSize = postgres.DefaultSegmentSize
	}
	return b, err
}

// Point is where a pin for the backup begins.
func (b Base) Point(along uint32) wal.Point {
	return wal.Point{SystemID: b.SystemID, Timeline: b.Timeline, LSN: b.StartLSN, SegmentSize: b.SegmentSize, Along: along}
}

// Span is what can be recovered to without a break, on one timeline.
type Span struct {
	Timeline uint32       `json:"timeline"`
	From     time.Time    `json:"from"` // when its first backup had ended, by the clock of the host that took it
	FromLSN  postgres.LSN `json:"from_lsn"`
	To       time.Time    `json:"to,omitzero"` // when the last transaction in its WAL ended: times before it can be recovered to
	ToLSN    postgres.LSN `json:"to_lsn"`
	Missing  string       `json:"missing,omitempty"` // the segment that is missing behind it, although later ones are there
	Backups  []string     `json:"backups"`           // keys, oldest first
}

// Unread is a backup that can't be used, and why.
type Unread struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// Window is how far back a database can be recovered.
type Window struct {
	Database  string             `json:"database"`
	SystemID  string             `json:"system_id"`
	Timeline  uint32             `json:"timeline"` // that the archive goes on with
	Spans     []Span             `json:"spans"`    // of all timelines, oldest first
	Backups   []Base             `json:"backups"`  // newest first
	Unread    []Unread           `json:"unread,omitempty"`
	Timelines []wal.Line         `json:"timelines"`
	Points    []wal.RestorePoint `json:"restore_points,omitempty"`
}

// Read finds the window of the cluster that the newest backup is of.
func Read(ctx context.Context, c Config) (*Window, error) {
	w := &Window{Database: c.Component, Spans: []Span{}}
	if err := w.readBackups(ctx, c); err != nil {
		return nil, err
	}
	size := w.Backups[0].SegmentSize
	var err error
	if w.Timelines, err = c.Archive.Tree(ctx, w.SystemID, size); err != nil {
		return nil, err
	}
	if len(w.Timelines) == 0 {
		return w, nil
	}
	w.Timeline = wal.NewestLine(w.Timelines).Timeline
	for _, line := range w.Timelines {
		if err := w.readSpans(ctx, c, line); err != nil {
			return nil, err
		}
	}
	w.Points, err = c.Archive.RestorePoints(ctx, w.SystemID)
	return w, err
}

func (w *Window) readBackups(ctx context.Context, c Config) error {
	for summary, err := range c.Vault.Backups(ctx, vault.Filter{Folder: folder, Component: c.Component}) {
		if err != nil {
			return err
		}
		if !summary.Complete || summary.Kind != kind {
			continue
		}
		base, err := open(ctx, c, summary.Key)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			w.Unread = append(w.Unread, Unread{Key: summary.Key, Why: err.Error()})
		case w.SystemID == "" || w.SystemID == base.SystemID:
			w.SystemID = base.SystemID
			w.Backups = append(w.Backups, base)
		default:
			w.Unread = append(w.Unread, Unread{Key: summary.Key, Why: "it is of another cluster, with the system identifier " + base.SystemID})
		}
	}
	if len(w.Backups) > 0 {
		return nil
	}
	missing := fault.Newf(fault.BackupUnknown, "find window of", "database "+c.Component, "there is no complete base backup")
	if len(w.Unread) > 0 {
		missing = missing.WithHint("%s can't be used: %s", w.Unread[0].Key, w.Unread[0].Why)
	}
	return missing
}

func open(ctx context.Context, c Config, key string) (Base, error) {
	backup, err := c.Vault.OpenWhole(ctx, key)
	if err == nil {
		err = backup.Sound(ctx)
	}
	if err != nil {
		return Base{}, err
	}
	return ReadBase(backup.Manifest(), c.Component)
}

// readSpans finds what can be reached on a timeline itself: behind its fork.
func (w *Window) readSpans(ctx context.Context, c Config, line wal.Line) error {
	for _, base := range slices.Backward(w.Backups) {
		if !line.Passes(base.Timeline, base.StopLSN) {
			continue
		}
		pin, err := c.Archive.Pin(ctx, base.Point(line.Timeline))
		if fault.Has(err, fault.WALGap) {
			continue // not even its own WAL is there
		}
		if err != nil {
			return err
		}
		end, err := pin.EndLSN()
		if err != nil {
			return err
		}
		if pin.Timeline != line.Timeline || end < base.StopLSN {
			continue
		}
		if n := len(w.Spans); n > 0 && w.Spans[n-1].Timeline == line.Timeline && w.Spans[n-1].ToLSN == end {
			w.Spans[n-1].Backups = append(w.Spans[n-1].Backups, base.Key)
			continue
		}
		span := Span{Timeline: line.Timeline, From: base.Finished, FromLSN: base.StopLSN, ToLSN: end, Backups: []string{base.Key}}
		if line.Fork() > span.FromLSN {
			span.FromLSN, span.From = line.Fork(), line.Begun
		}
		if pin.Hole != nil {
			span.Missing = pin.Hole.Missing
		}
		if span.To, err = c.Archive.Last(ctx, pin); err != nil {
			return err
		}
		w.Spans = append(w.Spans, span)
	}
	return nil
}

// From gives what can be recovered to from one backup, on the timeline that the
// archive goes on with where it leads there; ok is false when nothing can.
func (w *Window) From(key string) (span Span, ok bool) {
	for _, one := range w.Spans { // of all timelines, oldest first: the last one counts
		if !slices.Contains(one.Backups, key) {
			continue
		}
		span, ok = one, true
		span.Backups = []string{key}
		for _, base := range w.Backups {
			if base.Key == key && base.StopLSN > span.FromLSN {
				span.FromLSN, span.From = base.StopLSN, base.Finished
			}
		}
	}
	return span, ok
}
