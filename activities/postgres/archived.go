package postgres

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/workflows/api"
)

// CheckArchiveInput says of which archive, and how long a completed segment may
// take to be there.
type CheckArchiveInput struct {
	Ref
	Late time.Duration `json:"late"`
}

// CheckArchive holds the WAL archive against what the server believes to be in it,
// from the newest base backup on. What is not there and still lies in pg_wal is
// pushed again. A server in recovery archives nothing, and is not asked. What the replica
// lacks of it is told, and left to whoever replicates.
func (a *Activities) CheckArchive(ctx context.Context, in CheckArchiveInput) (api.ArchiveChecked, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return nil })
	defer stop()
	home, err := wal.HomeOf(j.database.DataDir)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	if home != "" && j.ref.System.From == "" { // the server archives there, and so is this about it
		if j.ref.System, err = j.ref.System.Alone(home); err != nil {
			return api.ArchiveChecked{}, err
		}
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	defer server.Close(ctx)
	facts := server.Facts()
	if !postgres.SameDir(facts.DataDir, j.database.DataDir) {
		return api.ArchiveChecked{}, fault.Newf(fault.ConfigInvalid, "look at", server.String(), "its data directory is %s, data_dir says %s", facts.DataDir, j.database.DataDir).
			WithHint("correct connection or data_dir of database %s in lifeboat.yaml", j.database.Name)
	}
	checked := api.ArchiveChecked{Component: "database/" + j.database.Name, At: time.Now().UTC(), Standby: facts.InRecovery}
	if facts.InRecovery {
		return checked, nil
	}
	believed, err := j.believed(ctx, server, opened)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: j.database.Cluster, Home: j.ref.System.From})
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	found, err := archive.Examine(ctx, believed, in.Late)
	if err != nil {
		return api.ArchiveChecked{}, err
	}
	checked.Newest, checked.Late, checked.Lost = found.Newest, found.Late, found.Lost
	for _, name := range found.Denied {
		err := archive.Push(ctx, filepath.Join(j.database.DataDir, "pg_wal", name), wal.PushOptions{DataDir: j.database.DataDir})
		switch {
		case fault.Has(err, fault.ObjectMissing): // deleted, and its name is not given out again
			checked.Lost = append(checked.Lost, name)
		case err != nil:
			return api.ArchiveChecked{}, err
		default:
			checked.Again = append(checked.Again, name)
		}
	}
	slices.Sort(checked.Lost)
	checked.Replica = replicated(ctx, opened, archive, believed, in.Late)
	return checked, nil
}

// mostLate is how many late segments are named.
const mostLate = 20

// replicated says what the replica has. One that can't be looked at keeps nothing
// of what the primary store was found to have from being told.
func replicated(ctx context.Context, opened *vault.Vault, archive *wal.Archive, believed wal.Believed, late time.Duration) *api.ReplicaChecked {
	if opened.Replica() == nil {
		return nil
	}
	checked := &api.ReplicaChecked{Store: opened.Replica().Name()}
	found, err := archive.Replicated(ctx, believed, late)
	if err != nil {
		checked.Why = err.Error()
		return checked
	}
	checked.Newest, checked.Lacks, checked.Late = found.Newest, len(found.Lacks), found.Late[:min(len(found.Late), mostLate)]
	return checked
}

// believed asks the server, before anything of the archive is read.
func (j *job) believed(ctx context.Context, server *postgres.Server, opened *vault.Vault) (wal.Believed, error) {
	facts := server.Facts()
	archiver, err := server.Archiver(ctx)
	if err != nil {
		return wal.Believed{}, err
	}
	marks, err := server.Marks(ctx)
	if err != nil {
		return wal.Believed{}, err
	}
	b := wal.Believed{
		Point:    wal.Point{SystemID: facts.SystemID, Timeline: facts.Timeline, SegmentSize: facts.SegmentSize},
		Timeline: facts.Timeline, Archived: archiver.Archived, Marks: marks, Now: archiver.Now,
	}
	latest, err := opened.OpenLatest(ctx, vault.Filter{Folder: Folder, Component: j.database.Name})
	if fault.Has(err, fault.BackupUnknown) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	var base Facts
	if err := latest.Backup.Manifest().Fact(FactsName, &base); err != nil {
		return b, err
	}
	if base.SystemID == facts.SystemID { // else it is of a cluster that was here before
		b.Point.Timeline, b.LSN = base.Timeline, base.StartLSN
	}
	return b, nil
}
