package files

import (
	"context"
	"encoding/json"
	"errors"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/files"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// Backup captures the set into a new backup. The same RunID again is the same
// backup: when that is finished, it is given back as it is.
func (a *Activities) Backup(ctx context.Context, in BackupInput) (BackupResult, error) {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return BackupResult{}, err
	}
	w, err := opened.Begin(ctx, vault.Intent{
		Folder: in.Folder, Kind: kind, System: in.System.Name, Component: in.Set.Name,
		RunID: in.RunID, Attempt: activity.GetInfo(ctx).Attempt, By: in.By, At: in.At, Codec: string(in.System.Backup.Compression),
	})
	if err != nil {
		return BackupResult{}, err
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{Done: w.Progress().In} })
	defer stop()
	result, err := a.capture(ctx, in, w)
	return result, errors.Join(err, w.Close())
}

func (a *Activities) capture(ctx context.Context, in BackupInput, w *vault.Writer) (BackupResult, error) {
	if done := w.Committed(); done != nil {
		return resultOf(done)
	}
	content, err := w.Create(ctx, contentStream)
	if err != nil {
		return BackupResult{}, err
	}
	entries, captured, err := files.Capture(ctx, in.Set, content, nil)
	if err != nil {
		return BackupResult{}, err
	}
	if err := content.Close(); err != nil {
		return BackupResult{}, err
	}
	list, err := w.Create(ctx, tableStream)
	if err != nil {
		return BackupResult{}, err
	}
	if err := tree.EncodeTable(list, entries); err != nil {
		return BackupResult{}, err
	}
	if err := list.Close(); err != nil {
		return BackupResult{}, err
	}
	facts, err := json.Marshal(factsOf(captured))
	if err != nil {
		return BackupResult{}, fault.New(fault.InputInvalid, "describe backup", w.Key(), err)
	}
	manifest, err := w.Commit(ctx, vault.Facts{FactsName: facts})
	if err != nil {
		return BackupResult{}, err
	}
	return resultOf(manifest)
}

func factsOf(c files.Captured) Facts {
	return Facts{
		Files: c.Files, Entries: c.Entries, Bytes: c.Bytes, Content: c.Content,
		Flagged: c.Flagged, Changed: c.Changed, Skipped: c.Skipped, Vanished: c.Vanished,
		Started: c.Started, Finished: c.Finished,
	}
}

func resultOf(m *vault.Manifest) (BackupResult, error) {
	result := BackupResult{Key: m.Key, Bytes: m.Bytes, Stored: m.Stored}
	return result, m.Fact(FactsName, &result.Facts)
}
