package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
)

// DumpPreflight asks whether a dump can be taken: the server, the rights, the
// programs of its version. It changes nothing.
func (a *Activities) DumpPreflight(ctx context.Context, in DumpPreflightInput) (DumpPreflightResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return DumpPreflightResult{}, err
	}
	server, _, err := j.dumpable(ctx)
	if err != nil {
		return DumpPreflightResult{}, err
	}
	defer server.Close(ctx)
	bytes, err := server.DatabaseBytes(ctx, j.database.Database)
	return DumpPreflightResult{Database: j.database.Database, Version: server.Facts().Version, Bytes: bytes}, err
}

// dumpable connects to the database and finds the programs that dump it.
func (j *job) dumpable(ctx context.Context) (*postgres.Server, string, error) {
	server, err := postgres.Connect(ctx, j.login.WithDatabase(j.database.Database))
	if err != nil {
		return nil, "", err
	}
	bin, err := postgres.FindClient(ctx, j.database.BinDir, postgres.Major(server.Facts().Version))
	if err != nil {
		server.Close(ctx)
		return nil, "", err
	}
	return server, bin, nil
}

// Dump streams a logical dump of one snapshot into the store, with what the
// database held in that snapshot. An attempt that follows a committed one gives its
// result again.
func (a *Activities) Dump(ctx context.Context, in DumpInput) (_ DumpResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return DumpResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return DumpResult{}, err
	}
	kind, codec, stream := vault.KindSQL, "gzip", postgres.StreamSQL // the frames of it, joined, are a gzip file
	if in.Format == postgres.DumpCustom {
		kind, codec, stream = vault.KindCustom, string(j.ref.System.Backup.Compression), postgres.StreamCustom
	}
	writer, err := opened.Begin(ctx, vault.Intent{
		Folder: Folder, Kind: kind, System: j.ref.System.Name, Component: j.database.Name, RunID: in.RunID,
		Attempt: activity.GetInfo(ctx).Attempt, By: in.By, At: in.At, Codec: codec, Dense: true,
	})
	if err != nil {
		return DumpResult{}, err
	}
	defer func() { err = errors.Join(err, writer.Close()) }()
	if manifest := writer.Committed(); manifest != nil {
		return dumped(manifest)
	}
	server, bin, err := j.dumpable(ctx)
	if err != nil {
		return DumpResult{}, err
	}
	defer server.Close(ctx)
	facts, err := j.dumpFacts(ctx, server, bin, in.Format)
	if err != nil {
		return DumpResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: writer.Progress().In} })
	defer stop()
	contents, err := j.dump(ctx, writer, bin, in.Format, stream, &facts)
	if err != nil {
		return DumpResult{}, err
	}
	if err := writeJSON(ctx, writer, postgres.StreamContents, contents); err != nil {
		return DumpResult{}, err
	}
	encoded, err := json.Marshal(facts)
	if err != nil {
		return DumpResult{}, fault.New(fault.InputInvalid, "describe dump", writer.Key(), err)
	}
	manifest, err := writer.Commit(ctx, vault.Facts{DumpFactsName: encoded})
	if err != nil {
		return DumpResult{}, err
	}
	return dumped(manifest)
}

func (j *job) dumpFacts(ctx context.Context, server *postgres.Server, bin string, format postgres.DumpFormat) (DumpFacts, error) {
	program, err := postgres.DumpProgram(ctx, bin)
	if err != nil {
		return DumpFacts{}, err
	}
	bytes, err := server.DatabaseBytes(ctx, j.database.Database)
	found := server.Facts()
	return DumpFacts{Database: j.database.Database, Format: format, SystemID: found.SystemID, Version: found.Version, Program: program, Bytes: bytes}, err
}

// dump writes the streams that the server gives. While pg_dump reads, other
// sessions count and digest the same snapshot.
func (j *job) dump(ctx context.Context, writer *vault.Writer, bin string, format postgres.DumpFormat, stream string, facts *DumpFacts) (*postgres.Contents, error) {
	globals, err := writer.Create(ctx, postgres.StreamGlobals)
	if err != nil {
		return nil, err
	}
	if err := postgres.DumpGlobals(ctx, j.login, j.database.Database, bin, globals); err != nil {
		return nil, err
	}
	if err := globals.Close(); err != nil {
		return nil, err
	}
	snapshot, err := postgres.TakeSnapshot(ctx, j.login, j.database.Database)
	if err != nil {
		return nil, err
	}
	defer snapshot.Close(ctx)
	out, err := writer.Create(ctx, stream)
	if err != nil {
		return nil, err
	}
	var contents *postgres.Contents
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := snapshot.Dump(groupCtx, bin, format, out); err != nil {
			return err
		}
		return out.Close()
	})
	group.Go(func() (err error) {
		contents, err = snapshot.Contents(groupCtx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := snapshot.Settle(ctx, contents); err != nil {
		return nil, err
	}
	facts.Locale, facts.LSN, facts.Started, facts.Snapshot = contents.Properties.Locale, snapshot.LSN, snapshot.From, snapshot.To
	facts.Tables, facts.Rows, facts.Sequences, facts.LargeObjects = len(contents.Tables), contents.Rows(), len(contents.Sequences), contents.LargeObjects.Count
	facts.Extensions, facts.Roles, facts.Tablespaces = contents.Extensions, contents.Roles, contents.Tablespaces
	return contents, nil
}

func writeJSON(ctx context.Context, writer *vault.Writer, name string, value any) error {
	stream, err := writer.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stream).Encode(value); err != nil {
		return err
	}
	return stream.Close()
}

// dumped is the result that a manifest stands for.
func dumped(manifest *vault.Manifest) (DumpResult, error) {
	result := DumpResult{Key: manifest.Key, Bytes: manifest.Bytes, Stored: manifest.Stored}
	return result, manifest.Fact(DumpFactsName, &result.Facts)
}
