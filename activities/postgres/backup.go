package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// kind is the end of a base backup's name.
const kind = "base"

// tableSuffix names the stream that says what a tar stream holds.
const tableSuffix = ".table"

// archiveTime is how long the server may take to archive the WAL that a base
// backup needs. The backup is worth the wait: it is whole but for that.
const archiveTime = 30 * time.Minute

// BackupPreflight asks the server whether a base backup can be taken, and
// whether its WAL is archived. It changes nothing.
func (a *Activities) BackupPreflight(ctx context.Context, in BackupPreflightInput) (BackupPreflightResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return BackupPreflightResult{}, err
	}
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return BackupPreflightResult{}, err
	}
	defer server.Close(ctx)
	facts := server.Facts()
	if err := server.CheckRoles(ctx); err != nil {
		return BackupPreflightResult{}, err
	}
	result := BackupPreflightResult{Server: facts, Bytes: facts.Bytes}
	if err := archives(server); err != nil {
		return result, err
	}
	return result, postgres.CheckReplication(ctx, j.login)
}

// archives says whether what the server commits from now on reaches the archive.
func archives(server *postgres.Server) error {
	if err := server.Facts().CheckArchiving(server.String()); err != nil {
		return err
	}
	return wal.CheckSegmentSize(server.String(), server.Facts().SegmentSize)
}

// BaseBackup streams a base backup, of the standby when one is configured and fit for
// it, into the store, waits until the WAL up to
// its end is in the archive, reads that back, and commits. An attempt that
// follows a committed one gives its result again.
func (a *Activities) BaseBackup(ctx context.Context, in BaseBackupInput) (_ BaseBackupResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return BaseBackupResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return BaseBackupResult{}, err
	}
	writer, err := opened.Begin(ctx, vault.Intent{
		Folder: Folder, Kind: kind, System: j.ref.System.Name, Component: j.database.Name, RunID: in.RunID,
		Attempt: activity.GetInfo(ctx).Attempt, By: in.By, At: in.At, Codec: string(j.ref.System.Backup.Compression), Dense: true, FrameSize: frameSize,
	})
	if err != nil {
		return BaseBackupResult{}, err
	}
	defer func() { err = errors.Join(err, writer.Close()) }()
	if manifest := writer.Committed(); manifest != nil {
		return backedUp(manifest)
	}
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return BaseBackupResult{}, err
	}
	defer server.Close(ctx)
	facts := server.Facts()
	if err := archives(server); err != nil {
		return BaseBackupResult{}, err
	}
	// The server's checkpoint does not wait for what an earlier backup holds, nor that for it.
	into := sink{writer: writer, earlier: func() (*earlier, error) { return nil, nil }}
	if !in.Full {
		found, end := a.look(ctx, j, opened, writer, facts.SystemID)
		defer end()
		into.earlier = found
	}

	var done, total atomic.Int64
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total.Load()} })
	defer stop()
	from, err := j.source(ctx, server)
	if err != nil {
		return BaseBackupResult{}, err
	}
	taken, err := postgres.BaseBackup(ctx, from.login, postgres.BackupOptions{
		Label: label(in.RunID), SystemID: facts.SystemID, Standby: from.standby,
		Progress: func(d, t int64) { done.Store(d); total.Store(t) },
	}, into)
	if err != nil {
		return BaseBackupResult{}, err
	}
	if from.standby {
		if err := j.complete(ctx, writer, from, taken); err != nil {
			return BaseBackupResult{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(taken.Tables)) {
		if err := writeTable(ctx, writer, name+tableSuffix, taken.Tables[name]); err != nil {
			return BaseBackupResult{}, err
		}
	}
	if err := j.readBackWAL(ctx, opened, taken, facts.SegmentSize); err != nil {
		return BaseBackupResult{}, err
	}
	described := factsOf(taken, facts, label(in.RunID))
	described.Standby, described.NoStandby = from.address(), from.why
	encoded, err := json.Marshal(described)
	if err != nil {
		return BaseBackupResult{}, fault.New(fault.InputInvalid, "describe backup", writer.Key(), err)
	}
	manifest, err := writer.Commit(ctx, vault.Facts{FactsName: encoded})
	if err != nil {
		return BaseBackupResult{}, err
	}
	return backedUp(manifest)
}

// sink hands the server's streams to the vault.
type sink struct {
	writer  *vault.Writer
	earlier func() (*earlier, error) // waits until it is known; nil: nothing is shared
}

func (s sink) Stream(ctx context.Context, name string) (io.WriteCloser, error) {
	earlier, err := s.earlier()
	if err != nil {
		return nil, err
	}
	stream, err := s.writer.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	if earlier == nil {
		return newSorted(stream, nil), nil
	}
	return newSorted(stream, earlier.places[name]), nil
}

func writeTable(ctx context.Context, writer *vault.Writer, name string, entries []tree.Entry) error {
	stream, err := writer.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := tree.EncodeTable(stream, entries); err != nil {
		return err
	}
	return stream.Close()
}

// backedUp is the result that a manifest stands for.
func backedUp(manifest *vault.Manifest) (BaseBackupResult, error) {
	result := BaseBackupResult{Key: manifest.Key, Bytes: manifest.Bytes, Stored: manifest.Stored, Shared: manifest.Shared(), Base: manifest.Base}
	return result, manifest.Fact(FactsName, &result.Facts)
}

func factsOf(taken *postgres.BackupResult, server postgres.Facts, label string) Facts {
	return Facts{
		SystemID: taken.SystemID, Version: server.Version, Timeline: taken.Timeline,
		StartLSN: taken.StartLSN, StopLSN: taken.StopLSN, Label: label,
		SegmentSize: server.SegmentSize, MaxWALSize: server.MaxWALSize, Checksums: server.Checksums, Damaged: taken.Damaged, DamagedIn: taken.DamagedIn,
		Superuser: server.Superuser, Login: server.Login, Preload: server.Preload, DataDir: server.DataDir,
		Tablespaces: taken.Tablespaces, Collations: server.Collations,
		Started: taken.Started, Finished: taken.Finished,
	}
}

// label is what backup_label says; the server takes at most 1,024 bytes.
func label(run string) string {
	text := "lifeboat " + run
	return text[:min(len(text), 200)]
}

// readBackWAL waits until the archive has the WAL that makes the backup
// consistent, and reads it back: a backup without it is none.
func (j *job) readBackWAL(ctx context.Context, opened *vault.Vault, taken *postgres.BackupResult, segmentSize int64) error {
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: j.database.Cluster})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, archiveTime)
	defer cancel()
	start := wal.Point{SystemID: taken.SystemID, Timeline: taken.Timeline, LSN: taken.StartLSN, SegmentSize: segmentSize}
	return archive.Await(limited, start, taken.StopLSN)
}
