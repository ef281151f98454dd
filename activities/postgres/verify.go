package postgres

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// Verify counts the configured tables and runs the configured checks on the
// staged server. One that can answer nobody before its promotion is verified by
// Promote, as is one of which a transaction that had not ended keeps a part locked.
// It fails with VerificationFailed.
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (result VerifyResult, err error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return VerifyResult{}, err
	}
	archive, err := j.archive(ctx)
	if err != nil {
		return VerifyResult{}, err
	}
	if in.Against != "" {
		kept, err := j.reference(ctx, in.Against)
		if err != nil {
			return VerifyResult{}, err
		}
		in.Reference = kept.Tables
	}
	err = j.locked(ctx, in.Place, func() error {
		stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
		defer stop()
		pinned, err := pin(ctx, archive, in.Facts, j.ref)
		if err != nil {
			return err
		}
		instance, err := j.instance(ctx, in.Place, in.Facts, pinned)
		if err != nil {
			return err
		}
		defer instance.Close(ctx)
		if err := ready(ctx, instance, in); err != nil {
			return err
		}
		if instance.Mute() {
			result.Postponed = true
			return j.postpone(in, "the server answers nobody: a transaction with more than 64 subtransactions was open at the end of the WAL")
		}
		if err := os.RemoveAll(in.Place.postponed()); err != nil {
			return fault.New(fault.PathFailed, "remove", in.Place.postponed(), err)
		}
		login, err := instance.Login(j.database.Database)
		if err != nil {
			return err
		}
		if result, err = j.verify(ctx, login); err != nil {
			return err
		}
		if len(result.Locked) > 0 {
			return j.postpone(in, "a transaction that had not ended keeps "+strings.Join(result.Locked, ", ")+" locked")
		}
		if len(in.Reference) == 0 {
			return nil
		}
		result.Compared, err = j.compare(ctx, instance, in.Reference)
		return err
	})
	return result, err
}

// ready waits until the server answers. One that was started again stands where its
// last restart point was: what is compared has to be replayed to the end again.
func ready(ctx context.Context, instance *postgres.Instance, in VerifyInput) error {
	if len(in.Reference) == 0 {
		return instance.WaitConsistent(ctx)
	}
	_, err := instance.WaitReplayed(ctx, in.Facts.StopLSN, nil)
	return err
}

// compare holds every table of the staged cluster against what production held.
func (j *job) compare(ctx context.Context, instance *postgres.Instance, reference []api.TableDigest) (int, error) {
	login, err := instance.Login(j.database.Database)
	if err != nil {
		return 0, err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return 0, err
	}
	defer server.Close(ctx)
	found, err := server.Digests(ctx)
	if err != nil {
		return 0, err
	}
	held := make([]postgres.TableDigest, len(reference))
	for i, table := range reference {
		held[i] = postgres.TableDigest(table)
	}
	return postgres.Compare(j.database.Name, held, found)
}

// postpone leaves the verification to Promote. What production held can't be
// compared then: a drill fails.
func (j *job) postpone(in VerifyInput, why string) error {
	if len(in.Reference) > 0 {
		return fault.Newf(fault.VerificationFailed, "compare", j.database.Name, "%s", why).
			WithHint("run the drill again when that transaction has ended")
	}
	return writeRun(in.Place, in.Place.postponed(), true)
}

func (j *job) verify(ctx context.Context, login postgres.Login) (VerifyResult, error) {
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return VerifyResult{}, err
	}
	defer server.Close(ctx)
	var result VerifyResult
	counts, err := server.CountRows(ctx, j.database.Tables)
	if err != nil {
		return VerifyResult{}, err
	}
	for i, table := range j.database.Tables {
		if counts[i] == postgres.Locked {
			result.Locked = append(result.Locked, table)
			continue
		}
		result.Tables = append(result.Tables, TableCount{Table: table, Rows: counts[i]})
	}
	for _, check := range j.database.Verify {
		answer, err := server.Check(ctx, check.SQL, check.Minimum)
		if locked, ok := errors.AsType[*postgres.LockedError](err); ok {
			result.Locked = append(result.Locked, locked.SQL)
			continue
		}
		if err != nil {
			return VerifyResult{}, err
		}
		result.Checks = append(result.Checks, CheckResult{SQL: check.SQL, Answer: answer})
	}
	result.Collations, err = server.CollationChanges(ctx)
	return result, err
}
