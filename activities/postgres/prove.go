package postgres

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// proofData is the proof level at which what is restored is compared with its source.
const proofData = "L3"

// CheckPagesInput names the staged server whose pages are checked.
type CheckPagesInput struct {
	Ref
	Place Place `json:"place"`
	Facts Facts `json:"facts"`
}

// CheckPagesResult says what was checked.
type CheckPagesResult struct {
	Checksums bool  `json:"checksums"` // whether pages carry them; else nothing was checked
	Files     int64 `json:"files"`
	Blocks    int64 `json:"blocks"`
}

// CheckPages shuts the replayed server of a scratch recovery down and computes the
// checksum of every page: only the replay has mended those that were written while they
// were copied. It fails with VerificationFailed, which names file, block and table.
func (a *Activities) CheckPages(ctx context.Context, in CheckPagesInput) (result CheckPagesResult, err error) {
	j, err := a.scratch(in.Ref)
	if err != nil {
		return CheckPagesResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		owner, err := in.Place.owner()
		if err != nil {
			return err
		}
		if err := postgres.StopInstance(ctx, in.Place.Staging, in.Place.Socket); err != nil {
			return err
		}
		pages, err := postgres.CheckPages(ctx, in.Place.BinDir, in.Place.Staging, owner, filepath.Join(in.Place.Run, "pg_checksums.log"))
		result = CheckPagesResult{Checksums: pages.Checksums, Files: pages.Files, Blocks: pages.Blocks}
		if bad, ok := errors.AsType[*postgres.PageFault](err); ok {
			return j.nameRelation(ctx, in, bad, err)
		}
		return err
	})
	return result, err
}

// nameRelation adds to a page that is wrong whose it is, when the server still knows.
func (j *job) nameRelation(ctx context.Context, in CheckPagesInput, bad *postgres.PageFault, failed error) error {
	instance, err := j.started(ctx, in.Place, in.Facts)
	if err != nil {
		return failed // file and block are told all the same
	}
	defer instance.Close(ctx)
	if err := instance.WaitConsistent(ctx); err != nil {
		return failed
	}
	login, err := instance.Login(j.database.Database)
	if err != nil {
		return failed
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return failed
	}
	defer server.Close(ctx)
	name, err := server.RelationAt(ctx, bad.File)
	if err != nil || name == "" {
		return failed
	}
	return fault.Newf(fault.VerificationFailed, "check pages of", name, "%s", bad).WithHint("%s", fault.HintOf(failed))
}

// InspectInput names the replayed server of a scratch recovery that is looked into.
type InspectInput struct {
	Ref
	Place Place        `json:"place"`
	Facts Facts        `json:"facts"`
	LSN   postgres.LSN `json:"lsn"` // that Replay has reached
	Key   string       `json:"key"` // of the backup, beside which the reference is
}

// InspectResult says what was looked at.
type InspectResult struct {
	Databases  int `json:"databases"`
	Extensions int `json:"extensions"`
}

// Inspect makes the copy a primary of its own, muted, and looks into every table
// and index of every database (pg_amcheck) and at its extensions. It fails with
// VerificationFailed, which names what is damaged; with VersionMismatch when this
// host sorts text by another version of a library than the source, or lacks a version of an
// extension, which says nothing about the backup.
func (a *Activities) Inspect(ctx context.Context, in InspectInput) (result InspectResult, err error) {
	j, err := a.scratch(in.Ref)
	if err != nil {
		return InspectResult{}, err
	}
	reference, err := j.reference(ctx, in.Key)
	if err != nil {
		return InspectResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.inspect(ctx, in, reference)
		return err
	})
	return result, err
}

func (j *job) inspect(ctx context.Context, in InspectInput, reference Reference) (InspectResult, error) {
	owner, err := in.Place.owner()
	if err != nil {
		return InspectResult{}, err
	}
	instance, err := j.started(ctx, in.Place, in.Facts)
	if err != nil {
		return InspectResult{}, err
	}
	defer instance.Close(ctx)
	login, err := instance.PromoteCopy(ctx, in.LSN)
	if err != nil {
		return InspectResult{}, err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return InspectResult{}, err
	}
	defer server.Close(ctx)
	extensions, missing, err := server.Extensions(ctx)
	if err != nil {
		return InspectResult{}, err
	}
	result := InspectResult{Databases: len(server.Facts().Collations), Extensions: len(reference.Extensions)}
	if err := compareExtensions(j.database.Name, reference.Extensions, extensions); err != nil {
		return InspectResult{}, err
	}
	if len(missing) > 0 {
		return InspectResult{}, fault.Newf(fault.VersionMismatch, "look into", "database "+missing[0].Database, "this host has no version %s of extension %s", missing[0].Version, missing[0].Name).
			WithHint("install it on the worker's host: a recovery here would need it, too")
	}
	changed, err := server.CollationChanges(ctx)
	if err != nil {
		return InspectResult{}, err
	}
	if len(changed) > 0 {
		return InspectResult{}, fault.Newf(fault.VersionMismatch, "look into", "database "+changed[0], "text sorts by another version of the library here than where it was made: its indexes can't be judged").
			WithHint("verify on a host with the source's version of the C library and ICU; after a recovery here, indexes on text have to be rebuilt")
	}
	return result, server.CheckRelations(ctx, postgres.RelationsConfig{
		BinDir: in.Place.BinDir, DataDir: in.Place.Staging, Socket: in.Place.Socket, Owner: owner, Log: filepath.Join(in.Place.Run, "pg_amcheck.log"),
	})
}

// compareExtensions holds the copy's extensions against the source's.
func compareExtensions(subject string, reference, found []postgres.DatabaseExtension) error {
	have := map[postgres.DatabaseExtension]bool{}
	for _, one := range found {
		have[one] = true
	}
	for _, want := range reference {
		if !have[want] {
			return fault.Newf(fault.VerificationFailed, "compare "+subject+" with its source at", "database "+want.Database, "extension %s %s is missing", want.Name, want.Version)
		}
	}
	return nil
}

// scratch is resolve for a step that must never be given a recovery's directories.
func (a *Activities) scratch(ref Ref) (*job, error) {
	if !ref.Scratch {
		return nil, fault.Newf(fault.TargetRefused, "look into", ref.Component, "the run is a recovery")
	}
	return a.resolve(ref)
}

// started finds the replayed server running, or starts it as it was left: one
// that was promoted already stays so.
func (j *job) started(ctx context.Context, place Place, facts Facts) (*postgres.Instance, error) {
	pinned, err := wal.ReadPin(place.pin())
	if err != nil {
		return nil, err
	}
	return j.startInstance(ctx, place, facts, pinned)
}
