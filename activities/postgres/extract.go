package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// plainSuffix is the end of a file's name that asks for SQL, which psql takes.
const plainSuffix = ".sql"

// mostTold bounds the names that a hint lists.
const mostTold = 20

// ExtractInput says what is taken out of a replayed scratch server, and where to.
type ExtractInput struct {
	Ref
	Place    Place    `json:"place"`
	Facts    Facts    `json:"facts"`
	Database string   `json:"database,omitempty"` // inside the cluster; empty: the configured one
	Tables   []string `json:"tables,omitempty"`   // "public.users", or "users" where only one schema has it; none: the whole database
	File     string   `json:"file"`               // on this host; must not exist
}

// ExtractResult says what was written.
type ExtractResult struct {
	Database string            `json:"database"`
	Tables   []api.TableDigest `json:"tables,omitempty"` // with their rows, -1 where they were not counted
	Bytes    int64             `json:"bytes"`            // of the file
	Plain    bool              `json:"plain"`            // SQL for psql; else pg_restore takes it
}

// CheckFileInput names the file that is going to be written.
type CheckFileInput struct {
	File string `json:"file"`
}

// CheckFile refuses a file that can't be written, before anything is restored for it.
func (a *Activities) CheckFile(_ context.Context, in CheckFileInput) error {
	if !filepath.IsAbs(in.File) || filepath.Clean(in.File) != in.File {
		return fault.Newf(fault.InputInvalid, "write", in.File, "it is no absolute path").WithHint("name a file on the worker's host: --out /var/tmp/users.dump")
	}
	if _, err := os.Lstat(in.File); err == nil {
		return fault.Newf(fault.TargetRefused, "write", in.File, "it is there already, and nothing is written over").WithHint("name another file, or move this one away")
	}
	info, err := os.Stat(filepath.Dir(in.File))
	if err != nil || !info.IsDir() {
		return fault.Newf(fault.TargetRefused, "write", in.File, "%s is no directory on the worker's host", filepath.Dir(in.File)).
			WithHint("make the directory on the worker's host, or name another: --out /var/tmp/users.dump")
	}
	return nil
}

// Extract writes tables, or a whole database, out of the replayed server into a
// file that psql or pg_restore takes: for its owner alone, durable, and whole or not at
// all. Production is not asked. It fails with NameUnknown when there is no such database or
// table at that point, with the names that come near.
func (a *Activities) Extract(ctx context.Context, in ExtractInput) (result ExtractResult, err error) {
	j, err := a.scratch(in.Ref)
	if err != nil {
		return ExtractResult{}, err
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		result, err = j.extract(ctx, in)
		return err
	})
	return result, err
}

func (j *job) extract(ctx context.Context, in ExtractInput) (ExtractResult, error) {
	var done ExtractResult
	if found, err := j.extracted(in, &done); err != nil || found {
		return done, err
	}
	instance, err := j.started(ctx, in.Place, in.Facts)
	if err != nil {
		return ExtractResult{}, err
	}
	defer instance.Close(ctx)
	// A standby that stands before the commit of a DROP TABLE holds its lock for ever;
	// once it is promoted, nothing that was open is.
	login, err := instance.PromoteCopy(ctx, in.Facts.StopLSN)
	if err != nil {
		return ExtractResult{}, err
	}
	server, err := j.databaseIn(ctx, login, in.Database)
	if err != nil {
		return ExtractResult{}, err
	}
	defer server.Close(ctx)
	all, err := server.Extractables(ctx)
	if err != nil {
		return ExtractResult{}, err
	}
	name := j.databaseName(in.Database)
	tables, err := choose(all, in.Tables, name)
	if err != nil {
		return ExtractResult{}, err
	}
	counted := tables
	if len(in.Tables) == 0 {
		counted = all
	}
	if err := roomFor(in.File, counted); err != nil {
		return ExtractResult{}, err
	}
	rows, err := server.CountTables(ctx, counted)
	if err != nil {
		return ExtractResult{}, err
	}
	result := ExtractResult{Database: name, Plain: strings.HasSuffix(in.File, plainSuffix)}
	for i, table := range counted {
		result.Tables = append(result.Tables, api.TableDigest{Name: table.String(), Rows: rows[i]})
	}
	owner, err := in.Place.owner()
	if err != nil {
		return ExtractResult{}, err
	}
	return result, j.write(in, &result, func(into *os.File) error {
		return server.Dump(ctx, postgres.DumpConfig{
			BinDir: in.Place.BinDir, DataDir: in.Place.Staging, Socket: in.Place.Socket, Owner: owner, Log: filepath.Join(in.Place.Run, "pg_dump.log"),
			Database: name, Tables: tables, Plain: result.Plain, Into: into,
		})
	})
}

func (j *job) databaseName(asked string) string {
	if asked != "" {
		return asked
	}
	return j.database.Database
}

// databaseIn connects to a database of the copy.
func (j *job) databaseIn(ctx context.Context, login postgres.Login, asked string) (*postgres.Server, error) {
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return nil, err
	}
	defer server.Close(ctx)
	names, err := server.Databases(ctx)
	if err != nil {
		return nil, err
	}
	name := j.databaseName(asked)
	if !slices.Contains(names, name) {
		return nil, unknown("find database", name, names)
	}
	return postgres.Connect(ctx, login.WithDatabase(name))
}

// choose finds the tables that are asked for, and with a partitioned one its partitions.
func choose(all []postgres.Extractable, asked []string, database string) ([]postgres.Extractable, error) {
	var chosen []postgres.Extractable
	taken := map[int]bool{}
	take := func(at int) {
		if !taken[at] {
			taken[at] = true
			chosen = append(chosen, all[at])
		}
	}
	for _, name := range asked {
		var found []int
		var names, ambiguous []string
		for i, one := range all {
			names = append(names, one.String())
			if one.String() == name || one.Name == name {
				found, ambiguous = append(found, i), append(ambiguous, one.String())
			}
		}
		switch {
		case len(found) == 0:
			return nil, unknown("find table in "+database, name, names)
		case len(found) > 1 && !slices.Contains(ambiguous, name):
			return nil, fault.Newf(fault.InputInvalid, "find table in "+database, name, "there are %d of this name", len(found)).WithHint("name its schema, too: %s", strings.Join(ambiguous, ", "))
		case len(found) > 1:
			found = []int{found[slices.Index(ambiguous, name)]}
		}
		take(found[0])
		for _, part := range all[found[0]].Parts {
			take(part)
		}
	}
	return chosen, nil
}

// unknown names what there is in the place of what there is not.
func unknown(op, name string, names []string) error {
	told := names
	if len(told) > mostTold {
		told = append(slices.Clone(told[:mostTold]), fmt.Sprintf("and %d more", len(names)-mostTold))
	}
	hint := "at that point there are: " + strings.Join(told, ", ")
	if len(names) == 0 {
		hint = "at that point there is none at all: choose another point"
	}
	near := system.Nearest(name, names)
	if near == "" && !strings.Contains(name, ".") {
		bare := map[string]string{}
		var short []string
		for _, one := range names {
			_, last, _ := strings.Cut(one, ".")
			bare[last], short = one, append(short, last)
		}
		near = bare[system.Nearest(name, short)]
	}
	if near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	return fault.New(fault.NameUnknown, op, name, nil).WithHint("%s", hint)
}

// roomFor refuses when the file's place has less room than the tables take.
func roomFor(file string, tables []postgres.Extractable) error {
	need := uint64(0)
	for _, table := range tables {
		need += uint64(table.Bytes)
	}
	return target.Fits(target.Place{Dir: file, Need: need})
}

// identity tells the file that was written from any other.
type identity struct {
	Dev    uint64        `json:"dev"`
	Ino    uint64        `json:"ino"`
	Result ExtractResult `json:"result"`
}

func (p Place) extracted() string { return filepath.Join(p.Run, "extracted.json") }

// extracted says whether an earlier attempt has put the file in place.
func (j *job) extracted(in ExtractInput, result *ExtractResult) (bool, error) {
	var before identity
	known, err := readRun(in.Place.extracted(), &before)
	if err != nil || !known {
		return false, err
	}
	info, err := os.Lstat(in.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.PathFailed, "look at", in.File, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	*result = before.Result
	return ok && stat.Dev == before.Dev && stat.Ino == before.Ino, nil
}

// write has dump fill a file beside the one that is asked for, makes it durable and puts it in place.
func (j *job) write(in ExtractInput, result *ExtractResult, dump func(*os.File) error) (err error) {
	temporary := target.Scratch(in.File, in.RunID)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that was cut off
		return fault.New(fault.PathFailed, "remove", temporary, err)
	}
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fault.New(fault.PathFailed, "write", temporary, err)
	}
	defer func() {
		closeErr := file.Close()
		if removeErr := os.Remove(temporary); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, fault.New(fault.PathFailed, "remove", temporary, removeErr))
		}
		if err == nil && closeErr != nil {
			err = fault.New(fault.PathFailed, "write", in.File, closeErr)
		}
	}()
	if err := dump(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fault.New(fault.PathFailed, "write", temporary, err)
	}
	info, err := file.Stat()
	if err != nil {
		return fault.New(fault.PathFailed, "look at", temporary, err)
	}
	result.Bytes = info.Size()
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fault.Newf(fault.Unsupported, "look at", temporary, "this system gives files no number")
	}
	if err := writeRun(in.Place, in.Place.extracted(), identity{Dev: stat.Dev, Ino: stat.Ino, Result: *result}); err != nil {
		return err
	}
	return target.PutInPlace(temporary, in.File)
}
