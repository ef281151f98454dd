package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
)

// mostJobs bounds the sessions that restore one dump.
const mostJobs = 8

// RestoreDumpPreflight opens the dump and checks all that can be known before
// anything is written: the server's version, its extensions, roles and tablespaces,
// the locale of the living database, the programs, and the space. It touches nothing.
func (a *Activities) RestoreDumpPreflight(ctx context.Context, in RestoreDumpPreflightInput) (RestoreDumpPreflightResult, error) {
	var result RestoreDumpPreflightResult
	j, err := a.resolve(in.Ref)
	if err != nil {
		return result, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return result, err
	}
	backup, err := opened.OpenWhole(ctx, in.Key)
	if err != nil {
		return result, err
	}
	manifest := backup.Manifest()
	if err := j.checkDump(manifest, &result.Facts); err != nil {
		return result, err
	}
	server, err := j.maintain(ctx)
	if err != nil {
		return result, err
	}
	defer server.Close(ctx)
	result.Key, result.Bytes = manifest.Key, manifest.Bytes
	if result.Place, err = j.dumpPlace(ctx, server, manifest.Key, result.Facts); err != nil {
		return result, err
	}
	kept, err := keptOfDump(ctx, backup, result.Facts)
	if err != nil {
		return result, err
	}
	return result, j.dumpSpace(server, kept, &result)
}

// keptOfDump is how many bytes of a dump lie on disk at most while it is restored: of
// one in custom format its large objects, or all of it when its version is not known.
func keptOfDump(ctx context.Context, backup *vault.Backup, facts DumpFacts) (int64, error) {
	if backup.Manifest().Kind != vault.KindCustom {
		return 0, nil
	}
	stream, err := backup.Manifest().Stream(postgres.StreamCustom)
	if err != nil {
		return 0, err
	}
	from, err := backup.ReadRange(ctx, postgres.StreamCustom, 0, min(postgres.CustomHead, stream.Bytes))
	if err != nil {
		return 0, err
	}
	defer from.Close()
	head, err := io.ReadAll(from)
	if err != nil || postgres.CustomKnown(head) && facts.LargeObjects == 0 {
		return 0, err
	}
	return stream.Bytes, nil
}

// checkDump reads what the dump says of itself.
func (j *job) checkDump(manifest *vault.Manifest, facts *DumpFacts) error {
	const op = "restore"
	if !vault.IsDump(manifest.Kind) || manifest.Component != j.database.Name {
		return fault.Newf(fault.InputInvalid, op, manifest.Key, "it is no dump of database %s", j.database.Name).
			WithHint("list its backups with: lifeboat backups list --of database/%s", j.database.Name)
	}
	if j.sandboxed() {
		return fault.Newf(fault.Unsupported, op, manifest.Key, "a sandbox has no server to restore a dump into").
			WithHint("recover to production: it is restored and verified beside the living database, and lifeboat abort leaves that as it was")
	}
	return manifest.Fact(DumpFactsName, facts)
}

// maintain connects to the database of the cluster that others are made and renamed
// from. A dump needs a server that runs.
func (j *job) maintain(ctx context.Context) (*postgres.Server, error) {
	server, err := postgres.Connect(ctx, j.login.Maintenance(j.database.Database))
	if failed, ok := errors.AsType[*fault.Error](err); ok && failed.Kind == fault.ServerUnavailable && ctx.Err() == nil {
		return nil, failed.WithHint("a dump is restored into a server that runs: start it, or recover the cluster from a base backup")
	}
	return server, err
}

func (j *job) dumpPlace(ctx context.Context, server *postgres.Server, key string, facts DumpFacts) (DumpPlace, error) {
	const op = "restore"
	have, made := postgres.Major(server.Facts().Version), postgres.Major(facts.Version)
	if server.Facts().InRecovery {
		return DumpPlace{}, fault.Newf(fault.ServerSettings, op, key, "%s is a standby", server).WithHint("name the primary server in the connection")
	}
	if have < made {
		return DumpPlace{}, fault.Newf(fault.VersionMismatch, op, key, "it is of PostgreSQL %d, and %s is PostgreSQL %d", made, server, have).
			WithHint("a dump goes into the same major version or a newer one: install PostgreSQL %d", made)
	}
	bin, err := postgres.FindClient(ctx, j.database.BinDir, have)
	if err != nil {
		return DumpPlace{}, err
	}
	name := j.database.Database
	state, err := server.Database(ctx, name)
	if err != nil {
		return DumpPlace{}, err
	}
	if state.Exists && state.Locale != facts.Locale {
		return DumpPlace{}, fault.Newf(fault.LocaleMismatch, op, key, "it has %s, and the living database %s has %s", facts.Locale, name, state.Locale).
			WithHint("sorting and comparing would change for the application: when that is wanted, rename the living database away, and begin again; nothing was touched")
	}
	if err := server.CheckPrerequisites(ctx, key, facts.Extensions, facts.Roles, facts.Tablespaces); err != nil {
		return DumpPlace{}, err
	}
	return DumpPlace{
		Database: name, Staging: besideName(name, "restoring", j.ref.RunID), Old: besideName(name, "before", j.ref.RunID),
		Exists: state.Exists, Closed: state.Exists && !state.Open, BinDir: bin, Dir: j.dumpDir(),
	}, nil
}

// longestName is what PostgreSQL keeps of a name, in bytes.
const longestName = 63

// besideName names a database beside another one: by what it is and by the run.
func besideName(database, what, run string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(run))
	suffix := "_" + what + "_" + plain[:min(len(plain), 40)]
	return strings.ToValidUTF8(database[:min(len(database), longestName-len(suffix))], "") + suffix
}

// dumpDir is where a dump lies while it is restored: beside the data directory,
// where a clean-up looks, or among the temporary files when that is another host's.
func (j *job) dumpDir() string {
	beside := target.Staging(filepath.Clean(j.database.DataDir), j.ref.RunID)
	if unix.Access(filepath.Dir(beside), unix.W_OK|unix.X_OK) != nil {
		return filepath.Join(j.deps.TempDir, filepath.Base(beside))
	}
	return beside
}

// dumpSpace asks for the disk that the restored database takes, with the WAL of its
// making, and for what of the dump lies beside it meanwhile.
func (j *job) dumpSpace(server *postgres.Server, kept int64, result *RestoreDumpPreflightResult) error {
	grown := uint64(max(result.Facts.Bytes, 0)) + uint64(server.Facts().MaxWALSize) + postgres.StagedMargin
	dir := server.Facts().DataDir
	places := []target.Place{{Dir: dir, Need: grown}}
	if postgres.Running(dir) {
		free, err := target.Space(dir)
		if err != nil {
			return err
		}
		result.Free = int64(free)
	} else { // another host's disk
		places, result.Free = nil, -1
	}
	if kept > 0 {
		places = append(places, target.Place{Dir: result.Place.Dir, Need: uint64(kept)})
		grown += uint64(kept)
	}
	result.Need = int64(grown)
	return target.Fits(places...)
}

// RestoreDump makes a database beside the living one and restores the dump into
// it. An attempt after one that was cut off begins anew.
func (a *Activities) RestoreDump(ctx context.Context, in RestoreDumpInput) (result RestoreResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return RestoreResult{}, err
	}
	if err := j.own(in.Place); err != nil {
		return RestoreResult{}, err
	}
	backup, err := j.openDump(ctx, in.Key)
	if err != nil {
		return RestoreResult{}, err
	}
	contents, err := readContents(ctx, backup)
	if err != nil {
		return RestoreResult{}, err
	}
	var done atomic.Int64
	total := backup.Manifest().Bytes
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: done.Load(), Total: total} })
	defer stop()
	began := time.Now()
	if err := os.MkdirAll(in.Place.Dir, 0o700); err != nil {
		return RestoreResult{}, fault.New(fault.PathFailed, "make directory", in.Place.Dir, err)
	}
	if err := j.dropRestored(ctx, in.Place); err != nil {
		return RestoreResult{}, err
	}
	oid, err := postgres.CreateDatabase(ctx, j.login, in.Place.Staging, contents)
	if err != nil {
		return RestoreResult{}, err
	}
	into := j.into(in.Place, oid)
	if backup.Manifest().Kind == vault.KindCustom {
		err = j.restoreCustom(ctx, backup, into, &done)
	} else {
		err = j.restoreSQL(ctx, backup, into, &done)
	}
	if err != nil {
		return RestoreResult{}, err
	}
	took := time.Since(began)
	return RestoreResult{Bytes: total, Elapsed: system.Duration(took), Rate: float64(total) / took.Seconds(), Fallbacks: j.fellBack()}, nil
}

// dropRestored drops what an earlier attempt has made, and ends what it left running,
// again when the database is gone: what could not be seen before finds none then.
func (j *job) dropRestored(ctx context.Context, place DumpPlace) error {
	if err := postgres.EndRestore(ctx, place.restorer()); err != nil {
		return err
	}
	if err := postgres.DropDatabase(ctx, j.login, place.Staging); err != nil {
		return err
	}
	return postgres.EndRestore(ctx, place.restorer())
}

func (j *job) openDump(ctx context.Context, key string) (*vault.Backup, error) {
	opened, err := j.vault(ctx)
	if err != nil {
		return nil, err
	}
	return opened.Open(ctx, key)
}

// readContents reads what the database held when it was dumped.
func readContents(ctx context.Context, backup *vault.Backup) (*postgres.Contents, error) {
	from, err := backup.Open(ctx, postgres.StreamContents)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	body, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	contents := new(postgres.Contents)
	if err := json.Unmarshal(body, contents); err != nil {
		return nil, fault.New(fault.FormatUnsupported, "read contents of", backup.Manifest().Key, err)
	}
	return contents, nil
}

// restoreSQL streams the dump into psql: nothing of it touches a disk in between.
func (j *job) restoreSQL(ctx context.Context, backup *vault.Backup, into postgres.RestoreOptions, done *atomic.Int64) error {
	owner, err := j.owner()
	if err != nil {
		return err
	}
	from, err := backup.Open(ctx, postgres.StreamSQL)
	if err != nil {
		return err
	}
	defer from.Close()
	into.As = owner
	return postgres.RestoreSQL(ctx, into, &counted{from: from, done: done})
}

// restoreCustom streams the dump into the database with several sessions. What of it is
// no rows lies in the place's directory meanwhile.
func (j *job) restoreCustom(ctx context.Context, backup *vault.Backup, into postgres.RestoreOptions, done *atomic.Int64) error {
	from, err := backup.Open(ctx, postgres.StreamCustom)
	if err != nil {
		return err
	}
	defer from.Close()
	return postgres.RestoreCustom(ctx, into, &counted{from: from, done: done})
}

func (j *job) into(place DumpPlace, oid uint32) postgres.RestoreOptions {
	return postgres.RestoreOptions{
		Login: j.login, Database: place.Staging, OID: oid, BinDir: place.BinDir, PIDFile: place.restorer(), Jobs: min(runtime.GOMAXPROCS(0), mostJobs), Dir: place.Dir,
	}
}

// restorer is where the program that restores is recorded.
func (p DumpPlace) restorer() string { return filepath.Join(p.Dir, "restore.pid") }

type counted struct {
	from io.Reader
	done *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.done.Add(int64(n))
	return n, err
}

// VerifyDump holds every table, sequence and large object of the restored database
// against what was dumped, and asks what is configured. It fails with VerificationFailed.
func (a *Activities) VerifyDump(ctx context.Context, in VerifyDumpInput) (VerifyResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return VerifyResult{}, err
	}
	backup, err := j.openDump(ctx, in.Key)
	if err != nil {
		return VerifyResult{}, err
	}
	want, err := readContents(ctx, backup)
	if err != nil {
		return VerifyResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	got, err := postgres.ReadContents(ctx, j.login, in.Place.Staging)
	if err != nil {
		return VerifyResult{}, err
	}
	server, err := postgres.Connect(ctx, j.login.WithDatabase(in.Place.Staging))
	if err != nil {
		return VerifyResult{}, err
	}
	defer server.Close(ctx)
	same := postgres.Major(server.Facts().Version) == postgres.Major(in.Facts.Version)
	equal, err := postgres.CompareContents(in.Place.Database, want, got, same)
	if err != nil {
		return VerifyResult{}, err
	}
	if err := server.Analyze(ctx); err != nil {
		return VerifyResult{}, err
	}
	result, err := j.verify(ctx, j.login.WithDatabase(in.Place.Staging))
	result.Compared = equal
	return result, err
}

// CloseDatabase keeps everyone out of the living database and ends its sessions.
func (a *Activities) CloseDatabase(ctx context.Context, in DumpPlaceInput) (CloseDatabaseResult, error) {
	var result CloseDatabaseResult
	err := a.maintained(ctx, in.Ref, func(server *postgres.Server) error {
		state, err := server.Database(ctx, in.Place.Database)
		if err != nil || !state.Exists {
			return err
		}
		result.Closed = true
		result.Ended, err = server.CloseDatabase(ctx, in.Place.Database)
		return err
	})
	return result, err
}

// ReopenDatabase undoes CloseDatabase.
func (a *Activities) ReopenDatabase(ctx context.Context, in DumpPlaceInput) error {
	return a.maintained(ctx, in.Ref, func(server *postgres.Server) error {
		state, err := server.Database(ctx, in.Place.Database)
		if err != nil || !state.Exists || in.Place.Closed {
			return err
		}
		return server.OpenDatabase(ctx, in.Place.Database)
	})
}

// SwapDatabases renames the living database away and the restored one into its
// place, in one transaction.
func (a *Activities) SwapDatabases(ctx context.Context, in SwapDatabasesInput) (SwapDatabasesResult, error) {
	var result SwapDatabasesResult
	j, err := a.resolve(in.Ref)
	if err != nil {
		return result, err
	}
	if err := j.own(in.Place); err != nil {
		return result, err
	}
	backup, err := j.openDump(ctx, in.Key)
	if err != nil {
		return result, err
	}
	contents, err := readContents(ctx, backup)
	if err != nil {
		return result, err
	}
	return result, a.maintained(ctx, in.Ref, func(server *postgres.Server) error {
		replaced, err := server.SwapDatabases(ctx, in.Place.Database, in.Place.Staging, in.Place.Old, j.ref.RunID, contents.Properties.Connections)
		if err != nil {
			return err
		}
		if replaced {
			result.Old = in.Place.Old
		}
		return removeDumpDir(in.Place)
	})
}

// DiscardDump removes what was restored of a dump and not put in place.
func (a *Activities) DiscardDump(ctx context.Context, in DumpPlaceInput) error {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return err
	}
	if err := j.own(in.Place); err != nil {
		return err
	}
	if err := j.dropRestored(ctx, in.Place); err != nil {
		return err
	}
	return removeDumpDir(in.Place)
}

// own refuses a place that is not this run's: what is in it is dropped and removed.
func (j *job) own(place DumpPlace) error {
	name := j.database.Database
	staging := target.Staging(filepath.Clean(j.database.DataDir), j.ref.RunID)
	if place.Database == name && place.Staging == besideName(name, "restoring", j.ref.RunID) && place.Old == besideName(name, "before", j.ref.RunID) && filepath.Base(place.Dir) == filepath.Base(staging) {
		return nil
	}
	return fault.Newf(fault.TargetRefused, "work on", "database "+place.Staging, "it is not what run %s restores database %s into", j.ref.RunID, name)
}

func removeDumpDir(place DumpPlace) error {
	if err := os.RemoveAll(place.Dir); err != nil {
		return fault.New(fault.PathFailed, "remove", place.Dir, err)
	}
	return nil
}

// maintained does something to the databases of the cluster.
func (a *Activities) maintained(ctx context.Context, ref Ref, do func(*postgres.Server) error) error {
	j, err := a.resolve(ref)
	if err != nil {
		return err
	}
	server, err := j.maintain(ctx)
	if err != nil {
		return err
	}
	defer server.Close(ctx)
	return do(server)
}
