package postgres_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// databases lists those of the house that a recovery made or renamed.
func (h *house) databases(t *testing.T) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), "SELECT datname FROM pg_database WHERE datname LIKE 'frende%' ORDER BY 1")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

// answer asks one thing of a database.
func (h *house) answer(t *testing.T, database, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "/postgres?", "/"+database+"?", 1))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var told string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&told))
	return told
}

// prepared restores a dump beside the living database and verifies it.
func (h *house) prepared(t *testing.T, run, key string) activities.RestoreDumpPreflightResult {
	t.Helper()
	found := must(t, h.activities.RestoreDumpPreflight, activities.RestoreDumpPreflightInput{Ref: h.ref(run), Key: key})
	for range 2 { // an attempt that was cut off has left something
		must(t, h.activities.RestoreDump, activities.RestoreDumpInput{Ref: h.ref(run), Key: key, Place: found.Place, Facts: found.Facts})
	}
	return found
}

func (h *house) verifyDump(t *testing.T, run string, found activities.RestoreDumpPreflightResult) (activities.VerifyResult, error) {
	return do(t, h.activities.VerifyDump, activities.VerifyDumpInput{Ref: h.ref(run), Key: found.Key, Place: found.Place, Facts: found.Facts})
}

func TestADumpIsRestoredBesideProvenAndSwappedWithTheLivingDatabase(t *testing.T) {
	t.Parallel()
	h := dumps(t)
	at := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	keys := map[string]string{}
	for n, format := range []postgres.DumpFormat{postgres.DumpSQL, postgres.DumpCustom} {
		keys[string(format)] = h.dump(t, "run", format, at.Add(time.Duration(n)*time.Hour)).Key
	}
	h.inside(t, "frende", "DELETE FROM users WHERE id > 20", "CREATE TABLE mistake ()")

	t.Run("what is called off leaves the living one as it was", func(t *testing.T) {
		found := h.prepared(t, "Run-0", keys["custom"])
		require.Equal(t, []string{"frende", "frende_restoring_run_0"}, h.databases(t))
		place := activities.DumpPlaceInput{Ref: h.ref("Run-0"), Place: found.Place}
		require.True(t, must(t, h.activities.CloseDatabase, place).Closed)
		_, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "/postgres?", "/frende?", 1))
		require.ErrorContains(t, err, "not currently accepting connections", "not even a superuser")
		for _, step := range []func(context.Context, activities.DumpPlaceInput) error{h.activities.ReopenDatabase, h.activities.DiscardDump, h.activities.DiscardDump} {
			_, err := do(t, func(ctx context.Context, in activities.DumpPlaceInput) (struct{}, error) {
				return struct{}{}, step(ctx, in)
			}, place)
			require.NoError(t, err)
		}
		require.Equal(t, []string{"frende"}, h.databases(t))
		require.Equal(t, "20", h.answer(t, "frende", "SELECT count(*)::text FROM users"))
		require.Empty(t, h.beside(t))
	})
	t.Run("what differs is named and not put in place", func(t *testing.T) {
		found := h.prepared(t, "run-1", keys["sql.gz"])
		h.inside(t, found.Place.Staging, "UPDATE users SET name = 'somebody' WHERE id = 3")
		_, err := h.verifyDump(t, "run-1", found)
		require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
		require.ErrorContains(t, err, "at public.users")
		must(t, func(ctx context.Context, in activities.DumpPlaceInput) (struct{}, error) {
			return struct{}{}, h.activities.DiscardDump(ctx, in)
		}, activities.DumpPlaceInput{Ref: h.ref("run-1"), Place: found.Place})
	})
	t.Run("a run that was ended in Temporal leaves nothing behind its clean-up", func(t *testing.T) {
		h.prepared(t, "run-gone", keys["sql.gz"])
		require.Len(t, h.beside(t), 1)
		must(t, h.activities.DiscardRun, activities.DiscardRunInput{Ref: h.ref("run-gone")})
		require.Equal(t, []string{"frende"}, h.databases(t))
		require.Empty(t, h.beside(t))
	})
	old := []string{}
	for run, key := range map[string]string{"run-2": keys["sql.gz"], "run-3": keys["custom"]} {
		t.Run("it is recovered from "+key, func(t *testing.T) {
			found := h.prepared(t, run, key)
			verified, err := h.verifyDump(t, run, found)
			require.NoError(t, err)
			require.Equal(t, 2, verified.Compared, "a table and its sequence")
			require.Equal(t, []activities.TableCount{{Table: "users", Rows: 200}}, verified.Tables)
			person, err := pgx.Connect(t.Context(), strings.Replace(h.DSN, "/postgres?", "/frende?", 1))
			require.NoError(t, err)
			defer func() { _ = person.Close(context.Background()) }()
			closed := must(t, h.activities.CloseDatabase, activities.DumpPlaceInput{Ref: h.ref(run), Place: found.Place})
			require.Equal(t, 1, closed.Ended)
			swap := activities.SwapDatabasesInput{Ref: h.ref(run), Key: key, Place: found.Place}
			swapped := must(t, h.activities.SwapDatabases, swap)
			require.Equal(t, found.Place.Old, swapped.Old)
			require.Equal(t, swapped, must(t, h.activities.SwapDatabases, swap), "a lost answer does no harm")
			old = append(old, swapped.Old)
			require.Equal(t, "200", h.answer(t, "frende", "SELECT count(*)::text FROM users"))
			require.Equal(t, "hidden", h.answer(t, "frende", "SHOW app.secret"), "what was set for the database is set")
			require.Equal(t, "app", h.answer(t, "frende", "SELECT tableowner::text FROM pg_tables WHERE tablename = 'users'"))
			require.Equal(t, "-1 app", h.answer(t, "frende", "SELECT datconnlimit || ' ' || datdba::regrole FROM pg_database WHERE datname = 'frende'"))
			require.Equal(t, "201", h.answer(t, "frende", "INSERT INTO users DEFAULT VALUES RETURNING id::text"), "the sequence goes on")
			require.Empty(t, h.beside(t))
		})
	}
	t.Run("undone, as the runbook says", func(t *testing.T) {
		first := "frende_before_run_2"
		require.Contains(t, old, first)
		h.exec(t, "ALTER DATABASE frende RENAME TO frende_unwanted", "ALTER DATABASE "+first+" RENAME TO frende", "ALTER DATABASE frende ALLOW_CONNECTIONS true")
		require.NotEmpty(t, h.answer(t, "frende", "SELECT count(*)::text FROM users"))
	})
	t.Run("what was put aside goes when its undo is over, and nothing else", func(t *testing.T) {
		const kept = "frende_before_run_3"
		look := func() activities.ReplacedResult {
			return must(t, h.activities.ReplacedDatabases, activities.ReplacedInput{Ref: h.ref("")})
		}
		drop := func(run, name string) error {
			_, err := do(t, func(ctx context.Context, in activities.DropReplacedInput) (struct{}, error) {
				return struct{}{}, h.activities.DropReplaced(ctx, in)
			}, activities.DropReplacedInput{Ref: h.ref(run), Name: name})
			return err
		}
		h.exec(t, "CREATE DATABASE frende_before_somebody ALLOW_CONNECTIONS false")
		production := slices.IndexFunc(h.system.Targets, func(one system.Target) bool { return one.Kind == system.TargetProduction })
		h.system.Targets[production].Undo = system.Duration(time.Hour)
		found := look()
		require.Empty(t, found.Old)
		require.Len(t, found.Kept, 1, "%v: one was renamed back, one was never Lifeboat's", found.Kept)
		require.Equal(t, kept, found.Kept[0].Subject)
		require.Contains(t, found.Kept[0].Why, "kept for undo until")

		h.system.Targets[production].Undo = 0
		found = look()
		require.Empty(t, found.Kept)
		require.Len(t, found.Old, 1)
		require.Equal(t, kept, found.Old[0].Name)
		require.Equal(t, "run-3", found.Old[0].Run)
		for run, name := range map[string]string{"run-2": "frende", "run-3": "frende", "somebody": "frende_before_somebody", "run-2 ": kept} {
			require.True(t, fault.Has(drop(run, name), fault.TargetRefused), "%s is not what %s put aside", name, run)
		}
		h.exec(t, "ALTER DATABASE "+kept+" ALLOW_CONNECTIONS true")
		require.Contains(t, look().Kept[0].Why, "somebody lets people connect to it again")
		require.True(t, fault.Has(drop("run-3", kept), fault.TargetRefused))
		h.exec(t, "ALTER DATABASE "+kept+" ALLOW_CONNECTIONS false")
		require.NoError(t, drop("run-3", kept))
		require.NoError(t, drop("run-3", kept), "gone already")
		require.NotContains(t, h.databases(t), kept)
		require.Contains(t, h.databases(t), "frende_before_somebody")
		h.exec(t, "DROP DATABASE frende_before_somebody")
	})
	t.Run("where the database is gone, there is nothing to keep", func(t *testing.T) {
		h.exec(t, "DROP DATABASE frende")
		found := h.prepared(t, "run-4", keys["sql.gz"])
		require.False(t, found.Place.Exists)
		require.False(t, must(t, h.activities.CloseDatabase, activities.DumpPlaceInput{Ref: h.ref("run-4"), Place: found.Place}).Closed)
		require.Empty(t, must(t, h.activities.SwapDatabases, activities.SwapDatabasesInput{Ref: h.ref("run-4"), Key: found.Key, Place: found.Place}).Old)
		require.Equal(t, "200", h.answer(t, "frende", "SELECT count(*)::text FROM users"))
	})
}

func TestADumpThatTheServerCanNotTakeIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := dumps(t)
	at := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	made := h.dump(t, "run", postgres.DumpSQL, at)
	n := 0
	// changed stores the dump again under another name, with other facts.
	changed := func(t *testing.T, change func(*activities.DumpFacts)) string {
		t.Helper()
		n++
		from := h.open(t, made.Key)
		opened, err := h.at.vault(t.Context(), nil)
		require.NoError(t, err)
		w, err := opened.Begin(t.Context(), vault.Intent{
			Folder: activities.Folder, Kind: vault.KindSQL, System: "frende", Component: "frende", RunID: "changed", At: at.Add(time.Duration(n) * time.Minute), Codec: "gzip",
		})
		require.NoError(t, err)
		for _, name := range []string{postgres.StreamSQL, postgres.StreamGlobals, postgres.StreamContents} {
			out, err := w.Create(t.Context(), name)
			require.NoError(t, err)
			_, err = io.WriteString(out, stream(t, from, name))
			require.NoError(t, err)
			require.NoError(t, out.Close())
		}
		facts := made.Facts
		change(&facts)
		encoded, err := json.Marshal(facts)
		require.NoError(t, err)
		_, err = w.Commit(t.Context(), vault.Facts{activities.DumpFactsName: encoded})
		require.NoError(t, err)
		return w.Key()
	}
	refused := func(t *testing.T, key string, kind fault.Kind, said, hint string) {
		t.Helper()
		_, err := do(t, h.activities.RestoreDumpPreflight, activities.RestoreDumpPreflightInput{Ref: h.ref("run"), Key: key})
		require.True(t, fault.Has(err, kind), "%v", err)
		require.ErrorContains(t, err, said)
		require.Contains(t, fault.HintOf(err), hint)
		require.Equal(t, []string{"frende"}, h.databases(t))
	}
	for name, one := range map[string]struct {
		change     func(*activities.DumpFacts)
		kind       fault.Kind
		said, hint string
	}{
		"a newer server's dump": {func(f *activities.DumpFacts) { f.Version = 180001 }, fault.VersionMismatch, "it is of PostgreSQL 18, and postgresql at 127.0.0.1", "install PostgreSQL 18"},
		"an extension": {func(f *activities.DumpFacts) {
			f.Extensions = append(f.Extensions, postgres.Extension{Name: "timetravel", Version: "1.0"})
		}, fault.PrerequisiteMissing, "the extension timetravel", "install its package"},
		"a role":       {func(f *activities.DumpFacts) { f.Roles = append(f.Roles, "nobody") }, fault.PrerequisiteMissing, "the role nobody", "--globals globals.sql"},
		"a tablespace": {func(f *activities.DumpFacts) { f.Tablespaces = []string{"fast"} }, fault.PrerequisiteMissing, "the tablespace fast", "CREATE TABLESPACE"},
		"another locale": {
			func(f *activities.DumpFacts) { f.Locale.Encoding = "LATIN1" }, fault.LocaleMismatch,
			"it has encoding LATIN1, collate C.UTF-8, ctype C.UTF-8, and the living database frende has encoding UTF8", "rename the living database away",
		},
		"too little disk": {func(f *activities.DumpFacts) { f.Bytes = 1 << 50 }, fault.NoSpace, "needed beside it", "free "},
	} {
		t.Run(name, func(t *testing.T) { refused(t, changed(t, one.change), one.kind, one.said, one.hint) })
	}
	t.Run("without programs", func(t *testing.T) {
		h.system.Databases[0].BinDir = t.TempDir()
		refused(t, made.Key, fault.VersionMismatch, "pg_restore and psql is not installed", "postgresql-client-15")
		h.system.Databases[0].BinDir = ""
	})
	t.Run("a locale that the server does not have", func(t *testing.T) {
		h.exec(t, "ALTER DATABASE frende RENAME TO elsewhere")
		defer h.exec(t, "ALTER DATABASE elsewhere RENAME TO frende")
		contents := new(postgres.Contents)
		require.NoError(t, json.Unmarshal([]byte(stream(t, h.open(t, made.Key), postgres.StreamContents)), contents))
		contents.Properties.Locale.Collate = "xx_XX.UTF-8"
		login, err := postgres.NewLogin(h.DSN, postgres.LoginOptions{})
		require.NoError(t, err)
		_, err = postgres.CreateDatabase(t.Context(), login, "frende_other", contents)
		require.True(t, fault.Has(err, fault.LocaleMismatch), "%v", err)
		require.Contains(t, fault.HintOf(err), "locale-gen")
	})
	t.Run("a statement that the server does not take ends it at once", func(t *testing.T) {
		login, err := postgres.NewLogin(h.DSN, postgres.LoginOptions{})
		require.NoError(t, err)
		err = postgres.RestoreSQL(t.Context(), postgres.RestoreOptions{Login: login, Database: "frende", BinDir: h.BinDir, As: postgres.Account{Name: h.User}}, strings.NewReader("CREATE TABLE half ();\nSELECT nothing FROM nowhere;\nCREATE TABLE more ();\n"))
		require.True(t, fault.Has(err, fault.DumpFailed), "%v", err)
		require.False(t, fault.Retryable(err))
		require.ErrorContains(t, err, "nowhere")
		require.Equal(t, "0", h.answer(t, "frende", "SELECT count(*)::text FROM pg_tables WHERE tablename IN ('half', 'more')"), "the transaction was rolled back")
	})
	t.Run("a server that does not run takes none", func(t *testing.T) {
		h.exec(t, "ALTER SYSTEM SET max_prepared_transactions = 2")
		require.NoError(t, h.Stop(t.Context()))
		require.Contains(t, must(t, h.activities.ReplacedDatabases, activities.ReplacedInput{Ref: h.ref("")}).Why, "were not looked at")
		_, err := do(t, h.activities.RestoreDumpPreflight, activities.RestoreDumpPreflightInput{Ref: h.ref("run"), Key: made.Key})
		require.True(t, fault.Has(err, fault.ServerUnavailable), "%v", err)
		require.Contains(t, fault.HintOf(err), "recover the cluster from a base backup")
		require.NoError(t, h.Start(t.Context()))
	})
	t.Run("a program that a killed worker left is ended, and leaves half of nothing", func(t *testing.T) {
		login, err := postgres.NewLogin(h.DSN, postgres.LoginOptions{})
		require.NoError(t, err)
		pidFile := h.lab.Path("programs", "restore.pid")
		from, dump := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- postgres.RestoreSQL(t.Context(), postgres.RestoreOptions{Login: login, Database: "frende", BinDir: h.BinDir, PIDFile: pidFile, As: postgres.Account{Name: h.User}}, from)
		}()
		_, err = io.WriteString(dump, "CREATE TABLE half ();\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool { _, err := os.Stat(pidFile); return err == nil }, 10*time.Second, 5*time.Millisecond)
		require.NoError(t, postgres.EndRestore(t.Context(), pidFile))
		require.NoError(t, dump.Close())
		err = <-ended
		require.True(t, fault.Has(err, fault.CommandFailed) && fault.Retryable(err), "%v", err)
		require.Equal(t, "0", h.answer(t, "frende", "SELECT count(*)::text FROM pg_tables WHERE tablename = 'half'"))
		require.NoFileExists(t, pidFile)
	})
	t.Run("a prepared transaction keeps the living one open", func(t *testing.T) {
		found := must(t, h.activities.RestoreDumpPreflight, activities.RestoreDumpPreflightInput{Ref: h.ref("run"), Key: made.Key})
		h.inside(t, "frende", "BEGIN; INSERT INTO users DEFAULT VALUES; PREPARE TRANSACTION 'forgotten'")
		_, err := do(t, h.activities.CloseDatabase, activities.DumpPlaceInput{Ref: h.ref("run"), Place: found.Place})
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, "forgotten")
		h.inside(t, "frende", "ROLLBACK PREPARED 'forgotten'")
		found.Place.Staging = "frende"
		_, err = do(t, func(ctx context.Context, in activities.DumpPlaceInput) (struct{}, error) {
			return struct{}{}, h.activities.DiscardDump(ctx, in)
		}, activities.DumpPlaceInput{Ref: h.ref("run"), Place: found.Place})
		require.True(t, fault.Has(err, fault.TargetRefused), "nothing but the run's own is dropped: %v", err)
	})
}
