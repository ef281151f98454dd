package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/target"
)

// scratch is a run that restores a backup to look at it.
func (h *house) scratch(run string) activities.Ref {
	ref := h.ref(run)
	ref.Scratch = true
	return ref
}

// one asks production for one text.
func (h *house) one(t *testing.T, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&text))
	return text
}

// replayed restores a backup to look at it, as far as the level needs.
func (h *house) replayed(t *testing.T, ref activities.Ref, proof, key string) (activities.Ref, activities.ScratchPreflightResult, activities.ReplayResult) {
	t.Helper()
	found := must(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: ref, Proof: proof, Key: key})
	ref.Until = found.Until
	must(t, h.activities.Restore, activities.RestoreInput{Ref: ref, Key: found.Key, Place: found.Place, Facts: found.Facts})
	verified := must(t, h.activities.VerifyFiles, activities.VerifyFilesInput{Ref: ref, Place: found.Place})
	require.Positive(t, verified.Files)
	return ref, found, must(t, h.activities.Replay, activities.ReplayInput{Ref: ref, Place: found.Place, Facts: found.Facts})
}

func (h *house) discardScratch(t *testing.T, ref activities.Ref) {
	t.Helper()
	left := must(t, h.activities.DiscardScratch, activities.DiscardScratchInput{Ref: ref})
	require.True(t, left.Removed)
	left = must(t, h.activities.DiscardScratch, activities.DiscardScratchInput{Ref: ref})
	require.False(t, left.Removed, "the step runs again")
	require.Empty(t, h.beside(t))
}

func TestABackupIsProvenToHoldWhatItsSourceHeld(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (id serial PRIMARY KEY, name text UNIQUE)", "INSERT INTO users (name) SELECT 'user ' || g FROM generate_series(1, 2000) g",
		"SELECT lo_from_bytea(0, 'a picture')", "CREATE DATABASE other", "CREATE EXTENSION pg_trgm")
	made := must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})

	// Without a reference there is nothing to compare with, and L2 is what can be had.
	_, err := do(t, h.activities.ScratchPreflight, activities.ScratchPreflightInput{Ref: h.scratch("verify/0"), Proof: "L3"})
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	require.Contains(t, fault.HintOf(err), "--level 2")

	h.exec(t, "INSERT INTO users (name) VALUES ('after the backup')")
	kept := must(t, h.activities.KeepReference, activities.KeepReferenceInput{Ref: h.ref("backup/1"), Key: made.Key})
	require.Equal(t, 3, kept.Tables, "a table, its sequence, and the large objects")
	h.exec(t, "INSERT INTO users (name) VALUES ('after the reference')")
	require.Equal(t, kept, must(t, h.activities.KeepReference, activities.KeepReferenceInput{Ref: h.ref("backup/1"), Key: made.Key}), "the step runs again")
	h.switched(t)

	ref, found, replayed := h.replayed(t, h.scratch("verify/1"), "L3", "")
	require.Equal(t, made.Key, found.Key)
	require.Equal(t, kept.Segment, found.Until)
	require.Equal(t, kept.Segment, replayed.Span.Last)
	require.Equal(t, target.Scratch(h.DataDir, "verify/1"), filepath.Dir(found.Place.Staging))
	info, err := os.Stat(filepath.Dir(found.Place.Staging))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	held, err := target.Lock(t.Context(), h.DataDir, "recover/1")
	require.NoError(t, err, "no recovery waits for it")
	require.NoError(t, held.Release())

	verify := activities.VerifyInput{Ref: ref, Place: found.Place, Facts: found.Facts, Against: made.Key}
	verified := must(t, h.activities.Verify, verify)
	require.Equal(t, 3, verified.Compared)
	require.Len(t, verified.Checks, 1)
	pages := must(t, h.activities.CheckPages, activities.CheckPagesInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, pages.Checksums)
	require.Positive(t, pages.Blocks)
	inspect := activities.InspectInput{Ref: ref, Place: found.Place, Facts: found.Facts, LSN: replayed.LSN, Key: made.Key}
	inspected := must(t, h.activities.Inspect, inspect)
	require.Equal(t, activities.InspectResult{Databases: 3, Extensions: 3}, inspected)
	require.Equal(t, inspected, must(t, h.activities.Inspect, inspect), "a copy that was promoted is looked at again")
	require.Equal(t, "1", h.one(t, "SELECT timeline_id::text FROM pg_control_checkpoint()"), "production is on its timeline")
	names := h.one(t, "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension")
	require.Equal(t, "pg_trgm plpgsql", names, "and got no amcheck")
	h.discardScratch(t, ref)
}

func TestWhatIsDamagedIsNamedByItsTableOrIndex(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users SELECT md5(g::text) FROM generate_series(1, 5000) g", "CREATE INDEX by_name ON users (name)", "CHECKPOINT")
	made := must(t, h.activities.BaseBackup, activities.BaseBackupInput{Ref: h.ref("backup/1"), At: time.Now()})
	must(t, h.activities.KeepReference, activities.KeepReferenceInput{Ref: h.ref("backup/1"), Key: made.Key})
	ref, found, replayed := h.replayed(t, h.scratch("verify/1"), "L3", made.Key)
	table := filepath.Join(found.Place.Staging, h.one(t, "SELECT pg_relation_filepath('users')"))
	damage(t, table, 3)

	_, err := do(t, h.activities.CheckPages, activities.CheckPagesInput{Ref: ref, Place: found.Place, Facts: found.Facts})
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.ErrorContains(t, err, "postgres: public.users")
	require.ErrorContains(t, err, "block 3 of "+h.one(t, "SELECT pg_relation_filepath('users')")+" has a wrong checksum")

	damage(t, table, 3) // which takes it back
	damage(t, filepath.Join(found.Place.Staging, h.one(t, "SELECT pg_relation_filepath('by_name')")), 4)
	_, err = do(t, h.activities.Inspect, activities.InspectInput{Ref: ref, Place: found.Place, Facts: found.Facts, LSN: replayed.LSN, Key: made.Key})
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.ErrorContains(t, err, `btree index "postgres.public.by_name"`)
	h.discardScratch(t, ref)
}

// damage changes one byte in the middle of a block.
func damage(t *testing.T, path string, block int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	at := block*8192 + 5000
	one := make([]byte, 1)
	_, err = file.ReadAt(one, at)
	require.NoError(t, err)
	one[0] ^= 0xff
	_, err = file.WriteAt(one, at)
	require.NoError(t, err)
}
