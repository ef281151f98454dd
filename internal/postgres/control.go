package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// ControlFile is the entry of a base backup that must be put in place last:
// without it no server starts, so a directory that was only half restored is
// never taken for a whole one.
const ControlFile = "global/pg_control"

// errRoot is why root is no owner.
var errRoot = errors.New("it would be root, and PostgreSQL does not run as root")

// Control is what the control file of a data directory says.
type Control struct {
	SystemID    string
	State       string // "in production", "shut down", "shut down in recovery", …
	Checkpoint  LSN    // latest checkpoint
	Redo        LSN    // where replay begins
	Minimum     LSN    // a recovery has to reach it; 0: none goes on
	Timeline    uint32
	EndTimeline uint32 // of End
	End         LSN    // that a recovery had to reach; 0 when none was under way
	SegmentSize int64
	Checksums   bool

	// What a standby must have at least, or it pauses.
	MaxConnections  int
	MaxWorkers      int
	MaxSenders      int
	MaxPrepared     int
	MaxLocksPerXact int
}

// ReadControl asks pg_controldata. A data directory without a control file is
// PathFailed; one of another major version is VersionMismatch.
func ReadControl(ctx context.Context, binDir, dataDir string) (Control, error) {
	const op = "read control file of"
	if _, err := os.Stat(filepath.Join(dataDir, ControlFile)); err != nil {
		return Control{}, pathFault(op, dataDir, err)
	}
	result, err := command.Run(ctx, command.Config{Argv: []string{filepath.Join(binDir, "pg_controldata"), "-D", dataDir}, Env: cLocale()})
	if err != nil {
		return Control{}, err
	}
	c, err := parseControl(result.Stdout)
	if err != nil {
		return Control{}, fault.New(fault.VersionMismatch, op, dataDir, err).
			WithHint("check that bin_dir holds the programs of the version that made this directory")
	}
	return c, nil
}

// parseControl reads "name:   value" lines in the C locale.
func parseControl(output []byte) (Control, error) {
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), ":")
		if found {
			values[name] = strings.TrimSpace(value)
		}
	}
	if err := lines.Err(); err != nil {
		return Control{}, err
	}
	var failure error
	number := func(name string) int64 {
		n, err := strconv.ParseInt(values[name], 10, 64)
		if err != nil && failure == nil {
			failure = errors.New("pg_controldata says nothing readable of " + strconv.Quote(name))
		}
		return n
	}
	position := func(name string) LSN {
		lsn, err := ParseLSN(values[name])
		if err != nil && failure == nil {
			failure = errors.New("pg_controldata says nothing readable of " + strconv.Quote(name))
		}
		return lsn
	}
	c := Control{
		SystemID:        values["Database system identifier"],
		State:           values["Database cluster state"],
		Checkpoint:      position("Latest checkpoint location"),
		Redo:            position("Latest checkpoint's REDO location"),
		Minimum:         position("Minimum recovery ending location"),
		Timeline:        uint32(number("Latest checkpoint's TimeLineID")),
		EndTimeline:     uint32(number("Min recovery ending loc's timeline")),
		End:             position("Minimum recovery ending location"),
		SegmentSize:     number("Bytes per WAL segment"),
		Checksums:       number("Data page checksum version") != 0,
		MaxConnections:  int(number("max_connections setting")),
		MaxWorkers:      int(number("max_worker_processes setting")),
		MaxSenders:      int(number("max_wal_senders setting")),
		MaxPrepared:     int(number("max_prepared_xacts setting")),
		MaxLocksPerXact: int(number("max_locks_per_xact setting")),
	}
	if failure == nil && c.SystemID == "" {
		failure = errors.New("pg_controldata names no system identifier")
	}
	return c, failure
}

// Reached is the timeline that the directory is on, and a position on it that it
// has reached. A server that was just promoted has no checkpoint there yet.
func (c Control) Reached() (timeline uint32, at LSN) {
	switch {
	case c.EndTimeline > c.Timeline:
		return c.EndTimeline, c.End
	case c.EndTimeline == c.Timeline:
		return c.Timeline, max(c.Checkpoint, c.End)
	}
	return c.Timeline, c.Checkpoint
}

// Standby says whether the directory was last used in recovery: it has written
// nothing of its own on its timeline.
func (c Control) Standby() bool {
	return c.State == "in archive recovery" || c.State == "shut down in recovery"
}

// DirMajor reads the major version that made a data directory, from PG_VERSION.
func DirMajor(dataDir string) (int, error) {
	const op = "read version of"
	body, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return 0, pathFault(op, dataDir, err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, fault.Newf(fault.PathFailed, op, dataDir, "PG_VERSION does not hold a number")
	}
	return major, nil
}

// HasCluster says whether dataDir holds a cluster. A directory that is missing
// or empty does not; one that holds anything else is TargetRefused.
func HasCluster(dataDir string) (bool, error) {
	entries, err := os.ReadDir(dataDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, pathFault("look at", dataDir, err)
	}
	if _, err := os.Stat(filepath.Join(dataDir, ControlFile)); err == nil {
		return true, nil
	}
	if _, err := os.Stat(filepath.Join(dataDir, "PG_VERSION")); err == nil {
		return false, nil // what is left of one, without its heart
	}
	return false, fault.Newf(fault.TargetRefused, "look at", dataDir, "it is not empty and holds no PostgreSQL cluster").
		WithHint("check data_dir; what lies there would be moved aside")
}

// CheckDirectory compares the cluster in dataDir with the one that is expected,
// before anything there is touched. It fails with ForeignCluster. A directory
// without a cluster is nobody's.
func CheckDirectory(ctx context.Context, binDir, dataDir, systemID string) (found bool, err error) {
	_, found, err = Cluster(ctx, binDir, dataDir, systemID)
	return found, err
}

// Cluster is CheckDirectory, and gives the control file of the cluster that is there.
func Cluster(ctx context.Context, binDir, dataDir, systemID string) (control Control, found bool, err error) {
	if found, err = HasCluster(dataDir); err != nil || !found {
		return Control{}, false, err
	}
	if control, err = ReadControl(ctx, binDir, dataDir); err != nil {
		return Control{}, true, err
	}
	return control, true, checkSystem("compare clusters", dataDir, control.SystemID, systemID)
}

// pathFault names a failed file operation, and tells a full disk apart.
func pathFault(op, path string, err error) error {
	if fault.KindOf(err) != "" {
		return err
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	if errors.Is(err, errNoSpace) {
		return fault.New(fault.NoSpace, op, path, err)
	}
	return fault.New(fault.PathFailed, op, path, err)
}
