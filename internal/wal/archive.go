package wal

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Config says which archive it is. Vault and Cluster are needed.
type Config struct {
	Vault    *vault.Vault
	Cluster  string           // the cluster's name in the archive
	Home     string           // name of the store that is read alone: a claimed directory archives there, and a pin ends before a hole
	Patience time.Duration    // how long Fetch tries again what may pass, besides the store's own tries; 0: 30 s
	Now      func() time.Time // nil: time.Now
}

// Archive is the WAL of one cluster in a vault. It is safe for concurrent use.
type Archive struct {
	cfg  Config
	read sync.Map // key: incarnation; an object that is written once is read once
}

var clusterName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// New makes an Archive. Nothing is read yet.
func New(c Config) (*Archive, error) {
	if c.Vault == nil || !clusterName.MatchString(c.Cluster) {
		return nil, fault.Newf(fault.ConfigInvalid, "open WAL archive", strconv.Quote(c.Cluster), "a vault and a cluster name that matches %s are needed", clusterName)
	}
	if c.Patience <= 0 {
		c.Patience = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Archive{cfg: c}, nil
}

// root is the folder of one system's WAL.
func (a *Archive) root(systemID string) string {
	return "wal/" + a.cfg.Cluster + "/" + systemID + "/"
}

// folder is where the files of a timeline lie.
func (a *Archive) folder(systemID string, timeline uint32) string {
	return fmt.Sprintf("%s%08X/", a.root(systemID), timeline)
}

// key is the place of a file by its name, whose first eight digits are its timeline.
func (a *Archive) key(systemID, name string) string {
	return a.root(systemID) + name[:8] + "/" + name
}

// dayKey names the data key of what is pushed today.
func (a *Archive) dayKey() string {
	return "wal-" + a.cfg.Cluster + "-" + a.cfg.Now().UTC().Format("20060102")
}

// Point is a place in the WAL of one system.
type Point struct {
	SystemID    string       `json:"system_id"`
	Timeline    uint32       `json:"timeline"`
	LSN         postgres.LSN `json:"lsn"`
	SegmentSize int64        `json:"segment_size"` // 0: 16 MiB

	Along uint32 `json:"along,omitempty"` // timeline that a pin from here follows; 0: the newest that comes from here
}

// checked gives the point with its default, or says what is wrong with it.
func (p Point) checked(op string) (Point, error) {
	if p.SegmentSize == 0 {
		p.SegmentSize = postgres.DefaultSegmentSize
	}
	if !postgres.ValidSegmentSize(p.SegmentSize) || p.Timeline == 0 || p.LSN == 0 {
		return p, fault.Newf(fault.InputInvalid, op, p.SystemID, "timeline %d, position %s, segments of %d bytes", p.Timeline, p.LSN, p.SegmentSize)
	}
	return p, local.CheckSystemID(op, p.SystemID)
}

// segment is the one that holds the point.
func (p Point) segment() postgres.Segment {
	return postgres.SegmentAt(p.Timeline, p.LSN, p.SegmentSize)
}

// list gives the names of what lies under a prefix, without the prefix: of the
// primary store or, when it does not answer, of the replica.
func (a *Archive) list(ctx context.Context, prefix string, o store.ListOptions) ([]store.Info, error) {
	infos, err := listIn(ctx, a.cfg.Vault.Store(), prefix, o)
	replica := a.cfg.Vault.Replica()
	if err == nil || replica == nil || ctx.Err() != nil {
		return infos, err
	}
	fromReplica, second := listIn(ctx, replica, prefix, o)
	if second != nil {
		return nil, err
	}
	return fromReplica, nil
}
