package postgres

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// ReplacedInput asks which databases recoveries from dumps put aside.
type ReplacedInput struct {
	Ref Ref `json:"ref"`
}

// ReplacedResult says which of them can't be needed for an undo any more, and which are kept.
type ReplacedResult struct {
	Old  []OldDatabase `json:"old,omitempty"`
	Kept []api.Cleaned `json:"kept,omitempty"`
	Why  string        `json:"why,omitempty"` // nobody was asked, as the server gives no answer
}

// OldDatabase is a database that a recovery replaced.
type OldDatabase struct {
	Name string    `json:"name"` // that it has now
	Run  string    `json:"run"`
	At   time.Time `json:"at"` // when it was replaced
}

// ReplacedDatabases looks at the databases that recoveries put aside. It changes nothing.
func (a *Activities) ReplacedDatabases(ctx context.Context, in ReplacedInput) (ReplacedResult, error) {
	var result ReplacedResult
	production, err := in.Ref.System.Target("")
	if err != nil {
		return result, err
	}
	j, err := a.resolve(in.Ref)
	if err != nil {
		return result, err
	}
	server, err := j.maintain(ctx)
	if fault.Has(err, fault.ServerUnavailable) && ctx.Err() == nil {
		result.Why = "databases that recoveries of " + j.database.Name + " put aside were not looked at: " + err.Error()
		return result, nil
	}
	if err != nil {
		return result, err
	}
	defer server.Close(ctx)
	found, err := server.ReplacedDatabases(ctx)
	if err != nil {
		return result, err
	}
	for _, one := range found {
		if !j.putAside(one) {
			continue
		}
		keep := func(why string) {
			result.Kept = append(result.Kept, api.Cleaned{What: api.OldDatabase, Component: system.ComponentID(system.KindDatabase, j.database.Name), Subject: one.Name, Why: why})
		}
		switch until := one.At.Add(production.Undo.Std()); {
		case one.Open:
			keep("somebody lets people connect to it again: when nobody misses anything, drop it by hand")
		case time.Now().Before(until):
			keep("kept for undo until " + until.UTC().Format(time.RFC3339))
		default:
			result.Old = append(result.Old, OldDatabase{Name: one.Name, Run: one.Run, At: one.At})
		}
	}
	return result, nil
}

// putAside says whether a database is one that a recovery of this one replaced, under
// the very name that the recovery gave it.
func (j *job) putAside(one postgres.Replaced) bool {
	return one.Database == j.database.Database && one.Name == besideName(one.Database, "before", one.Run)
}

// DropReplacedInput names a database that is not needed for an undo any more. The
// run of the reference is the one that replaced it.
type DropReplacedInput struct {
	Ref  Ref    `json:"ref"`
	Name string `json:"name"`
}

// DropReplaced drops a database that a recovery put aside. It refuses with TargetRefused
// what no recovery marked, what has another name by now, and what lets anybody in. Gone
// already is no error.
func (a *Activities) DropReplaced(ctx context.Context, in DropReplacedInput) error {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return err
	}
	server, err := j.maintain(ctx)
	if err != nil {
		return err
	}
	defer server.Close(ctx)
	state, err := server.Database(ctx, in.Name)
	if err != nil || !state.Exists {
		return err
	}
	found, err := server.ReplacedDatabases(ctx)
	if err != nil {
		return err
	}
	for _, one := range found {
		if one.Name == in.Name && one.Run == in.Ref.RunID && j.putAside(one) && !one.Open {
			return server.DropClosed(ctx, in.Name)
		}
	}
	return fault.Newf(fault.TargetRefused, "drop", "database "+in.Name, "it is not what run %s put aside, or somebody lets people connect to it again", in.Ref.RunID).
		WithHint("when nobody misses anything, drop it by hand: DROP DATABASE")
}
