package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
)

// holdOpen begins a transaction with more subtransactions than a server keeps in
// memory, which stays open until the server dies.
func (h *house) holdOpen(t *testing.T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	var script strings.Builder
	script.WriteString("BEGIN;")
	for i := range 80 {
		fmt.Fprintf(&script, "SAVEPOINT s%d; INSERT INTO users VALUES ('never');", i)
	}
	_, err = conn.Exec(t.Context(), script.String())
	require.NoError(t, err)
}

func TestATransactionOfManySubtransactionsAtTheEndKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	t.Run("begun after the backup", func(t *testing.T) {
		h := build(t)
		h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
		h.backup(t, "backup/1", time.Now())
		h.holdOpen(t)
		h.exec(t, "INSERT INTO users VALUES ('b')", "CHECKPOINT", "INSERT INTO users VALUES ('c')")
		_, err := h.Kill(t.Context())
		require.NoError(t, err)
		p := h.prepare(t, "recover/1")
		h.fence(t, &p)
		verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		require.Equal(t, []activities.TableCount{{Table: "users", Rows: 3}}, verified.Tables)
		_, promoted := h.cutOver(t, &p)
		require.Equal(t, uint32(2), promoted.Timeline)
		require.Equal(t, "a b c", h.users(t))
	})
	t.Run("begun before the backup", func(t *testing.T) {
		h := build(t)
		h.exec(t, "CREATE TABLE users (name text)", "INSERT INTO users VALUES ('a')")
		h.holdOpen(t)
		h.backup(t, "backup/1", time.Now())
		h.exec(t, "INSERT INTO users VALUES ('b')", "CHECKPOINT", "INSERT INTO users VALUES ('c')")
		_, err := h.Kill(t.Context())
		require.NoError(t, err)
		p := h.prepare(t, "recover/1")
		h.fence(t, &p)
		verified := must(t, h.activities.Verify, activities.VerifyInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts})
		require.True(t, verified.Postponed)
		in := activities.CutOverInput{Ref: p.ref, Place: p.found.Place, Facts: p.found.Facts, LSN: p.replayed.LSN, Timeline: p.replayed.Timeline}
		must(t, h.activities.CutOver, in)
		promoted := must(t, h.activities.Promote, activities.PromoteInput{Ref: p.ref, Place: p.found.Place, Timeline: p.replayed.Timeline})
		require.NotNil(t, promoted.Verified)
		require.Equal(t, []activities.TableCount{{Table: "users", Rows: 3}}, promoted.Verified.Tables)
		require.Equal(t, "a b c", h.users(t))
	})
}
