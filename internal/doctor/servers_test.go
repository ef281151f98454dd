package doctor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/system"
)

// configured changes settings of the PostgreSQL server until the test ends.
func (h *house) configured(t *testing.T, settings map[string]string) {
	t.Helper()
	restart := func(ctx context.Context, statement func(name string) string) {
		conn, err := pgx.Connect(ctx, h.postgres.DSN)
		require.NoError(t, err)
		for name := range settings {
			_, err := conn.Exec(ctx, statement(name))
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close(ctx))
		require.NoError(t, h.postgres.Stop(ctx))
		require.NoError(t, h.postgres.Start(ctx))
	}
	restart(t.Context(), func(name string) string { return fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, settings[name]) })
	t.Cleanup(func() {
		restart(context.Background(), func(name string) string { return "ALTER SYSTEM RESET " + name })
		h.archived(context.Background(), t)
	})
}

func TestAServerThatKeepsTooLittleForARecoveryIsToldSettingBySetting(t *testing.T) {
	shared.configured(t, map[string]string{"wal_level": "minimal", "archive_mode": "off", "max_wal_senders": "0", "archive_timeout": "0", "archive_command": ""})
	found := shared.examine(t, nil, doctor.PostgreSQL)
	found.is(t, "postgresql/orders/wal_level", doctor.Problem, "minimal", "ALTER SYSTEM SET wal_level = 'replica';")
	found.is(t, "postgresql/orders/wal_level", doctor.Problem, "minimal", "lifeboat --config lifeboat.yaml database setup orders --apply\n")
	found.is(t, "postgresql/orders/archive_mode", doctor.Problem, "off", "ALTER SYSTEM SET archive_mode = 'on';")
	found.is(t, "postgresql/orders/senders", doctor.Problem, "0 are free", "ALTER SYSTEM SET max_wal_senders = 10;")
	found.is(t, "postgresql/orders/archive_timeout", doctor.Problem, "a quiet server archives nothing", "archive_timeout = '60s'")
	found.is(t, "postgresql/orders/archive_command", doctor.Problem, "archive_command is empty", "lifeboat --config lifeboat.yaml wal-push %p")
	found.is(t, "postgresql/orders/archiving", doctor.Problem, "nothing is archived", "archive_mode")
	require.Equal(t, "postgresql/orders/archive_command", found.found(t, "postgresql/orders/archived").Because)
	require.Equal(t, doctor.OK, found.found(t, "postgresql/orders/checksums").Status, "the rest is examined all the same")
}

func TestAnArchiveCommandThatFailsOrLiesIsFound(t *testing.T) {
	password := "archive" + "-swordfish"
	shared.configured(t, map[string]string{"archive_command": "PGPASSWORD=" + password + " /bin/false %p"})
	conn := shared.sql(t.Context(), t)
	failures := func() (count int) {
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT failed_count FROM pg_stat_archiver").Scan(&count))
		return count
	}
	before := failures()
	_, err := conn.Exec(t.Context(), "SELECT txid_current(), pg_switch_wal()")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return failures() > before }, patience, tick)
	found := shared.examine(t, nil, doctor.PostgreSQL)
	f := found.is(t, "postgresql/orders/archive_command", doctor.Problem, "does not call lifeboat wal-push", "ALTER SYSTEM SET archive_command")
	require.NotContains(t, f.What, password)
	found.is(t, "postgresql/orders/archiving", doctor.Problem, "archive_command failed for 0000000", "wal-push pg_wal/0000000")

	// It says "done", and stores nothing.
	_, err = conn.Exec(t.Context(), "ALTER SYSTEM SET archive_command = 'true wal-push %p'")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT pg_reload_conf()")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var done bool
		err := conn.QueryRow(t.Context(), "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver").Scan(&done)
		return err == nil && done
	}, patience, tick)
	found = shared.examine(t, nil, doctor.PostgreSQL)
	require.Equal(t, []string{"postgresql/orders/archived"}, found.ids(doctor.Problem))
	found.is(t, "postgresql/orders/archived", doctor.Problem, "does not have it", "lifeboat backup database orders")
}

func TestAServerThatIsDownIsToldOnce(t *testing.T) {
	require.NoError(t, shared.postgres.Stop(t.Context()))
	t.Cleanup(func() { require.NoError(t, shared.postgres.Start(context.Background())) })
	found := shared.examine(t, nil, doctor.PostgreSQL, doctor.Tools, doctor.Checks)
	require.Equal(t, []string{"postgresql/orders/reachable"}, found.ids(doctor.Problem))
	f := found.is(t, "postgresql/orders/reachable", doctor.Problem, "server can't be reached", "pg_isready -h 127.0.0.1")
	require.Contains(t, f.Mend, "\ntrue", "the command that starts its service")
	require.NotContains(t, f.What, shared.postgres.Password)
	for _, unknown := range found.Of(doctor.Unknown) {
		require.Equal(t, "postgresql/orders/reachable", unknown.Because)
	}
	require.Equal(t, doctor.OK, found.found(t, "tools/database/orders/programs").Status, "its directory tells its version")
	require.Equal(t, doctor.Unknown, found.found(t, "checks/rows/sql").Status)
	require.Equal(t, doctor.OK, found.found(t, "checks/pong/redis").Status)
}

func TestARoleThatIsNoSuperuserAndADirectoryThatIsNotTheServersAreProblems(t *testing.T) {
	conn := shared.sql(t.Context(), t)
	_, err := conn.Exec(t.Context(), "CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := shared.sql(context.Background(), t).Exec(context.Background(), "DROP ROLE clerk")
		require.NoError(t, err)
	})
	clerk := strings.Replace(strings.Replace(shared.postgres.DSN, "postgres:", "clerk:", 2), shared.postgres.Password, "clerk", 1)
	clerk = strings.Replace(clerk, "clerk://", "postgres://", 1)
	t.Setenv("CLERK", clerk)
	found := shared.examine(t, func(s *system.System) { s.Databases[0].Connection = "env:CLERK" }, doctor.PostgreSQL)
	found.is(t, "postgresql/orders/rights", doctor.Problem, "role clerk is not a superuser", "ALTER ROLE \"clerk\" SUPERUSER")

	found = shared.examine(t, func(s *system.System) { s.Databases[0].DataDir = shared.lab.Path("elsewhere") }, doctor.PostgreSQL)
	require.Equal(t, []string{"postgresql/orders/data directory"}, found.ids(doctor.Problem))
	found.is(t, "postgresql/orders/data directory", doctor.Problem, shared.postgres.DataDir, "correct data_dir or connection of database orders")

	link := shared.lab.Path("link")
	require.NoError(t, os.Symlink(shared.postgres.DataDir, link))
	t.Cleanup(func() { require.NoError(t, os.Remove(link)) })
	found = shared.examine(t, func(s *system.System) { s.Databases[0].DataDir = link }, doctor.PostgreSQL)
	found.is(t, "postgresql/orders/swap", doctor.Problem, "it is a symbolic link", "name the directory that the link leads to")
}

func TestATablespaceThatNoBaseBackupHasIsAProblem(t *testing.T) {
	location, err := shared.lab.Folder("space")
	require.NoError(t, err)
	conn := shared.sql(t.Context(), t)
	_, err = conn.Exec(t.Context(), "CREATE TABLESPACE fast LOCATION '"+location+"'")
	require.NoError(t, err)
	found := shared.examine(t, nil, doctor.PostgreSQL)
	found.is(t, "postgresql/orders/tablespaces", doctor.Problem, "fast was made after the newest base backup", "lifeboat backup database orders")
	_, err = conn.Exec(t.Context(), "DROP TABLESPACE fast")
	require.NoError(t, err)
}

func TestACacheThatKeepsNothingOnDiskIsAProblem(t *testing.T) {
	db := goredis.NewClient(&goredis.Options{Addr: shared.redis.Address, Password: shared.redis.Password})
	defer db.Close()
	set := func(ctx context.Context, name, value string) {
		require.NoError(t, db.ConfigSet(ctx, name, value).Err())
	}
	set(t.Context(), "appendonly", "no")
	set(t.Context(), "save", "")
	t.Cleanup(func() {
		db := goredis.NewClient(&goredis.Options{Addr: shared.redis.Address, Password: shared.redis.Password})
		defer db.Close()
		require.NoError(t, db.ConfigSet(context.Background(), "appendonly", "yes").Err())
		require.NoError(t, db.ConfigSet(context.Background(), "save", "900 1").Err())
	})
	found := shared.examine(t, nil, doctor.Redis)
	found.is(t, "redis/sessions/persistence", doctor.Problem, "keeps nothing on disk", "CONFIG SET appendonly yes")
	found.is(t, "redis/sessions/configuration file", doctor.Problem, "set up otherwise", "CONFIG REWRITE")

	set(t.Context(), "save", "900 1")
	found = shared.examine(t, nil, doctor.Redis)
	found.is(t, "redis/sessions/persistence", doctor.Warning, "appendonly is no", "CONFIG SET appendonly yes")
}

func TestACacheThatRefusesTheLoginIsToldApartFromOneThatIsDown(t *testing.T) {
	found := shared.examine(t, func(s *system.System) { s.Caches[0].Password = shared.ref("second") }, doctor.Redis)
	require.Equal(t, []string{"redis/sessions/login"}, found.ids(doctor.Problem))
	found.is(t, "redis/sessions/login", doctor.Problem, "WRONGPASS", "check username and password")

	found = shared.examine(t, func(s *system.System) { s.Caches[0].Address = "127.0.0.1:" + closedPort(t) }, doctor.Redis)
	require.Equal(t, []string{"redis/sessions/reachable"}, found.ids(doctor.Problem))
	found.is(t, "redis/sessions/reachable", doctor.Problem, "connection refused", "redis-cli -h 127.0.0.1 -p")
}

func TestTemporalThatIsDownLeavesTheRestExamined(t *testing.T) {
	c := shared.config(t, nil)
	port := closedPort(t)
	c.Temporal = func(ctx context.Context) (client.Client, error) {
		return client.DialContext(ctx, client.Options{HostPort: "127.0.0.1:" + port})
	}
	c.SearchAttributes = func() map[string]enums.IndexedValueType { return nil }
	x := doctor.New(c)
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Temporal, doctor.Files)}
	require.Equal(t, []string{"temporal/server/reachable"}, found.ids(doctor.Problem))
	found.is(t, "temporal/server/reachable", doctor.Problem, "connection refused", "temporal operator cluster health")
	require.Equal(t, doctor.Unknown, found.found(t, "temporal/default/search attributes").Status)
	require.Equal(t, doctor.OK, found.found(t, "files/files/uploads/root").Status)
}

func TestShortRetentionIsRaisedByFixAndLookedAtAgain(t *testing.T) {
	_, err := shared.client.WorkflowService().UpdateNamespace(t.Context(), &workflowservice.UpdateNamespaceRequest{
		Namespace: shared.temporal.Namespace, Config: &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(24 * time.Hour)},
	})
	require.NoError(t, err)
	x := doctor.New(shared.config(t, nil))
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Temporal)}
	// The server may serve the namespace from its cache for a while.
	f := found.is(t, "temporal/default/retention", doctor.Problem, "closed runs are kept for 24 hours", "temporal operator namespace update --namespace default --retention 90d")
	require.Equal(t, "raise the retention of namespace default from 24 hours to 90 days", f.Fix)
	x.Fix(t.Context(), &found.Report)
	f = found.found(t, "temporal/default/retention")
	require.Equal(t, doctor.OK, f.Status, "%+v", f)
	require.NotEmpty(t, f.Fixed)
	require.True(t, found.Healthy(), "the report is counted anew")
}

func TestAQueueWithoutAWorkerAndMissingSearchAttributesAreProblems(t *testing.T) {
	c := shared.config(t, nil)
	c.Queue = "nobody-serves-this"
	c.SearchAttributes = func() map[string]enums.IndexedValueType {
		return map[string]enums.IndexedValueType{"LifeboatSystem": enums.INDEXED_VALUE_TYPE_KEYWORD}
	}
	x := doctor.New(c)
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Temporal)}
	found.is(t, "temporal/nobody-serves-this/workflow worker", doctor.Problem, "no worker serves it", "lifeboat-worker --config lifeboat.yaml")
	found.is(t, "temporal/nobody-serves-this/activity worker", doctor.Problem, "no worker serves it", "lifeboat-worker")
	found.is(t, "temporal/default/search attributes", doctor.Problem, "missing: LifeboatSystem",
		"temporal operator search-attribute create --namespace default --name LifeboatSystem --type Keyword")
}

func TestAWorkerThatDiedIsFoundByWhatWaitsForIt(t *testing.T) {
	c := shared.config(t, nil)
	c.Queue = "somebody-served-this"
	died := worker.New(shared.client, c.Queue, worker.Options{DisableRegistrationAliasing: true})
	died.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Served"})
	require.NoError(t, died.Start())
	start := func() client.WorkflowRun {
		run, err := shared.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: c.Queue}, "Served")
		require.NoError(t, err)
		return run
	}
	require.NoError(t, start().Get(t.Context(), nil))
	died.Stop()
	waits := start()
	t.Cleanup(func() {
		require.NoError(t, shared.client.TerminateWorkflow(context.WithoutCancel(t.Context()), waits.GetID(), "", "test"))
	})
	var found examined
	require.Eventually(t, func() bool {
		x := doctor.New(c)
		defer x.Close()
		found = examined{x.Run(t.Context(), doctor.Temporal)}
		return slices.Contains(found.ids(doctor.Problem), "temporal/somebody-served-this/workflow worker")
	}, time.Minute, 500*time.Millisecond)
	found.is(t, "temporal/somebody-served-this/workflow worker", doctor.Problem, "1 tasks wait", "lifeboat-worker --config lifeboat.yaml")
}

func TestANamespaceThatDoesNotExistIsNamed(t *testing.T) {
	c := shared.config(t, nil)
	c.Namespace = "nowhere"
	x := doctor.New(c)
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Temporal)}
	require.Equal(t, []string{"temporal/nowhere/namespace"}, found.ids(doctor.Problem))
	found.is(t, "temporal/nowhere/namespace", doctor.Problem, "there is none of this name", "temporal operator namespace create --namespace nowhere --retention 90d")
}

func TestLogLinesOfAServiceThatStoppedAreQuotedWithoutSecrets(t *testing.T) {
	log := filepath.Join(shared.lab.Path("logs"), "lifeboat-service-app.log")
	secret := shared.redis.Password
	lines := "an old line\nconnecting to " + shared.postgres.DSN + "\nusing " + secret + " as the key\n\x1b[31mapi_token: s3cr3t-t0ken gave up\n"
	require.NoError(t, shared.lab.Write(log, []byte(lines), 0o644))
	t.Cleanup(func() { require.NoError(t, os.Remove(log)) })
	found := shared.examine(t, func(s *system.System) { s.Services[2].Status = []string{"/bin/sh", "-c", "exit 3"} }, doctor.Services)
	require.Equal(t, []string{"services/app/running"}, found.ids(doctor.Problem))
	f := found.is(t, "services/app/running", doctor.Problem, "it is stopped; the last lines of its log:", "unless a recovery runs: true")
	require.Contains(t, f.Mend, log)
	require.NotContains(t, f.What, "an old line", "three lines are enough")
	require.Contains(t, f.What, "gave up")
	for _, hidden := range []string{secret, shared.postgres.Password, "s3cr3t-t0ken", "\x1b"} {
		require.NotContains(t, f.What, hidden)
	}
}
