package wal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
)

// PushOptions say where a pushed file comes from.
type PushOptions struct {
	DataDir string // of the server; "" is the working directory, as in archive_command
}

// Push stores a WAL segment, .partial, .history or .backup file: what
// archive_command is given as %p. A file that is there already, with the same
// content, is success; with another it is WALConflict. ForeignCluster,
// IntegrityError and WALHeld are raised before anything is sent.
func (a *Archive) Push(ctx context.Context, path string, o PushOptions) error {
	if o.DataDir == "" {
		o.DataDir = "."
	}
	key, body, _, err := a.admit(ctx, path, o.DataDir)
	if err != nil {
		return err
	}
	defer a.memory().Return(body)
	return a.put(ctx, key, body)
}

// memory is where files are read into.
func (a *Archive) memory() *vault.Budget { return a.cfg.Vault.Budget() }

// admit reads the file, holds it against all that is to be checked before anything is
// sent, and gives its place in the archive. The body is returned to memory afterwards.
func (a *Archive) admit(ctx context.Context, path, dataDir string) (key string, body []byte, was state, err error) {
	name := filepath.Base(path)
	if !pushable(name) {
		return "", nil, was, fault.Newf(fault.InputInvalid, "push WAL", path, "its name is not that of a WAL file")
	}
	systemID, err := systemIDOf(dataDir)
	if err != nil {
		return "", nil, was, err
	}
	newest := a.askNewest(ctx, systemID) // the store answers while the file is read
	read, was, err := readWAL(path, a.memory())
	archives := <-newest
	if err != nil {
		return "", nil, was, err
	}
	defer func() {
		if err != nil {
			a.memory().Return(read)
		}
	}()
	if postgres.IsSegment(name) || postgres.IsPartial(name) {
		found, err := inspect(name, read)
		if err != nil {
			return "", nil, was, fault.New(fault.IntegrityError, "push WAL", path, err).WithHint("the file is not what its name says; nothing was sent")
		}
		if found.SystemID != systemID {
			return "", nil, was, fault.Newf(fault.ForeignCluster, "push WAL", path, "it is of system %s, the data directory of %s", found.SystemID, systemID)
		}
	}
	if archives.err != nil {
		return "", nil, was, archives.err
	}
	if err := a.mayPush(ctx, archives.incarnation, systemID, dataDir); err != nil {
		return "", nil, was, err
	}
	return a.key(systemID, name), read, was, nil
}

// put stores the file once.
func (a *Archive) put(ctx context.Context, key string, body []byte) error {
	err := a.cfg.Vault.PutSealed(ctx, key, a.dayKey(), body, vault.SealedOptions{IfNoneMatch: true})
	if fault.Has(err, fault.ObjectExists) {
		return a.compare(ctx, key, body)
	}
	return err
}

// compare says, with WALConflict, when the archive holds another file under the key.
func (a *Archive) compare(ctx context.Context, key string, body []byte) error {
	same, err := a.cfg.Vault.SealedEqual(ctx, key, body)
	if err != nil {
		return err
	}
	if !same {
		return fault.New(fault.WALConflict, "push WAL", key, nil)
	}
	return nil
}

func pushable(name string) bool {
	return postgres.IsSegment(name) || postgres.IsPartial(name) || postgres.IsHistory(name) || postgres.IsBackupLabel(name)
}

// CheckSegmentSize says, with Unsupported, that a server's segments are too large
// to be archived.
func CheckSegmentSize(subject string, size int64) error {
	return checkSize("check WAL segments of", subject, size)
}

func checkSize(op, subject string, size int64) error {
	if size <= maxSegmentSize {
		return nil
	}
	return fault.Newf(fault.Unsupported, op, subject, "one has %d bytes, at most %d can be archived", size, maxSegmentSize).
		WithHint("make the cluster with initdb --wal-segsize=16 or 32")
}

// Salvage pushes what a server that no longer runs had completed and not
// archived, by its own marks (pg_wal/archive_status/*.ready), in order. It stops
// at the first that fails, as those behind it would only make a hole, and gives
// the names of those that are in the archive now. Nothing in the directory is changed.
func (a *Archive) Salvage(ctx context.Context, dataDir string) ([]string, error) {
	names, err := waiting(dataDir)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := a.Push(ctx, filepath.Join(dataDir, "pg_wal", name), PushOptions{DataDir: dataDir}); err != nil {
			return names[:i], err
		}
	}
	return names, nil
}

// waiting lists, in order, what a server has completed and not archived, by its own marks.
func waiting(dataDir string) ([]string, error) {
	folder := filepath.Join(dataDir, "pg_wal", "archive_status")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fault.New(fault.PathFailed, "list", folder, err)
	}
	var names []string
	for _, entry := range entries {
		if name, ready := strings.CutSuffix(entry.Name(), ".ready"); ready && pushable(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
