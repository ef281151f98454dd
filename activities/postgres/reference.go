package postgres

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// referenceName is the object beside a backup that holds its Reference (docs/FORMAT.md, section 11).
const referenceName = "reference"

// Reference is what a cluster held at the end of a WAL segment behind a backup. It
// lies sealed beside the backup, and is what proof level L3 is held against.
type Reference struct {
	SystemID   string                       `json:"system_id"`
	Segment    string                       `json:"segment"`
	At         time.Time                    `json:"at"`
	Tables     []api.TableDigest            `json:"tables"`
	Extensions []postgres.DatabaseExtension `json:"extensions,omitempty"`
}

// KeepReferenceInput names the backup that was just made.
type KeepReferenceInput struct {
	Ref
	Key string `json:"key"`
}

// KeepReferenceResult says what is kept.
type KeepReferenceResult struct {
	Segment string `json:"segment"`
	Tables  int    `json:"tables"` // and sequences, and large objects
}

// KeepReference takes from the source what TakeReference takes, and keeps it beside
// the backup. An attempt that follows one which did that gives its result again. Once
// the server has left the backup's timeline, nothing can be compared: PointUnreachable.
func (a *Activities) KeepReference(ctx context.Context, in KeepReferenceInput) (KeepReferenceResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return KeepReferenceResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return KeepReferenceResult{}, err
	}
	backup, err := opened.Open(ctx, in.Key)
	if err != nil {
		return KeepReferenceResult{}, err
	}
	var kept Reference
	err = backup.Kept(ctx, referenceName, &kept)
	if err == nil {
		return KeepReferenceResult{Segment: kept.Segment, Tables: len(kept.Tables)}, nil
	}
	if !fault.Has(err, fault.ObjectMissing) {
		return KeepReferenceResult{}, err
	}
	var facts Facts
	if err := backup.Manifest().Fact(FactsName, &facts); err != nil {
		return KeepReferenceResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return KeepReferenceResult{}, err
	}
	defer server.Close(ctx)
	if now := server.Facts(); now.SystemID != facts.SystemID || now.Timeline != facts.Timeline {
		return KeepReferenceResult{}, fault.Newf(fault.PointUnreachable, "take reference of", j.database.Name, "it is on timeline %d of cluster %s, the backup on timeline %d of cluster %s", now.Timeline, now.SystemID, facts.Timeline, facts.SystemID).
			WithHint("the next backup can be proven at L3")
	}
	taken, err := j.takeReference(ctx, server, "lifeboat reference")
	if err != nil {
		return KeepReferenceResult{}, err
	}
	kept = Reference{SystemID: taken.SystemID, Segment: taken.Segment, At: time.Now().UTC(), Tables: taken.Tables}
	if kept.Extensions, _, err = server.Extensions(ctx); err != nil {
		return KeepReferenceResult{}, err
	}
	return KeepReferenceResult{Segment: kept.Segment, Tables: len(kept.Tables)}, backup.Keep(ctx, referenceName, kept)
}

// reference reads what is kept beside a backup; "" has none.
func (j *job) reference(ctx context.Context, key string) (Reference, error) {
	if key == "" {
		return Reference{}, nil
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return Reference{}, err
	}
	backup, err := opened.Open(ctx, key)
	if err != nil {
		return Reference{}, err
	}
	var kept Reference
	return kept, backup.Kept(ctx, referenceName, &kept)
}

// takeReference fixes a position and waits until it is in the archive.
func (j *job) takeReference(ctx context.Context, server *postgres.Server, name string) (TakeReferenceResult, error) {
	taken, err := server.TakeReference(ctx, name)
	if err != nil {
		return TakeReferenceResult{}, err
	}
	segment := taken.Segment.Name(server.Facts().SegmentSize)
	archived, err := server.AwaitArchived(ctx, taken.Segment, archivePatience)
	if err != nil {
		return TakeReferenceResult{}, err
	}
	if !archived {
		return TakeReferenceResult{}, fault.Newf(fault.WALShort, "archive reference of", j.database.Name, "%s was not archived within %s", segment, archivePatience).
			WithHint("look at pg_stat_archiver and at the server's log")
	}
	result := TakeReferenceResult{SystemID: server.Facts().SystemID, Segment: segment}
	for _, table := range taken.Tables {
		result.Tables = append(result.Tables, api.TableDigest(table))
	}
	return result, nil
}
