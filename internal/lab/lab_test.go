package lab_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/lab"
)

func TestPostgresKeepsCommitsAcrossKill(t *testing.T) {
	t.Parallel()
	server := lab.StartPostgres(t, lab.PostgresOptions{Settings: map[string]string{"work_mem": "5MB"}})
	require.Equal(t, "5MB", queryText(t, server.DSN, "show work_mem"))
	require.Equal(t, "on", queryText(t, server.DSN, "show data_checksums"))
	require.Equal(t, server.DataDir, queryText(t, server.DSN, "show data_directory"))
	queryText(t, server.DSN, "create table kept as select 'yes' as answer; select answer from kept")

	_, err := server.Kill(t.Context())
	require.NoError(t, err)
	running, err := server.Running()
	require.NoError(t, err)
	require.False(t, running)
	require.NoError(t, server.Start(t.Context()))
	require.Equal(t, "yes", queryText(t, server.DSN, "select answer from kept"))

	for _, mode := range []lab.StopMode{lab.Smart, lab.Fast, lab.Immediate} {
		require.NoError(t, server.StopBy(t.Context(), mode))
		require.NoError(t, server.Start(t.Context()))
	}
}

func TestAStandbyFollowsItsPrimary(t *testing.T) {
	t.Parallel()
	home := lab.New(t)
	primary, err := home.Postgres(t.Context(), lab.PostgresOptions{})
	require.NoError(t, err)
	standby, err := home.Standby(t.Context(), primary, lab.StandbyOptions{Settings: map[string]string{"work_mem": "7MB"}})
	require.NoError(t, err)
	require.Equal(t, "t", queryText(t, standby.DSN, "select pg_is_in_recovery()::text::char"))
	require.Equal(t, "7MB", queryText(t, standby.DSN, "show work_mem"))
	queryText(t, primary.DSN, "create table streamed as select 'yes' as answer; select answer from streamed")
	require.Eventually(t, func() bool {
		return queryText(t, standby.DSN, "select coalesce(to_regclass('streamed')::text, '')") == "streamed"
	}, time.Minute, 20*time.Millisecond)
}

func TestPostgresAsksForThePassword(t *testing.T) {
	t.Parallel()
	server := lab.StartPostgres(t, lab.PostgresOptions{})
	_, err := pgx.Connect(t.Context(), strings.Replace(server.DSN, server.Password, "wrong", 1))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestStartSaysWhyAServerEnded(t *testing.T) {
	t.Parallel()
	_, err := lab.New(t).Postgres(t.Context(), lab.PostgresOptions{Settings: map[string]string{"no_such_setting": "1"}})
	require.ErrorContains(t, err, "no_such_setting")
}

func TestRedisRestartsWithItsKeys(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]lab.RedisOptions{
		"snapshot":    {},
		"append only": {AppendOnly: true, Settings: map[string]string{"maxmemory": "64mb"}},
		"no password": {NoPassword: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := lab.StartRedis(t, options)
			db := redis.NewClient(&redis.Options{Addr: server.Address, Password: server.Password})
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			require.NoError(t, db.Set(t.Context(), "session", "kept", 0).Err())
			require.NoError(t, server.Stop(t.Context()))
			require.NoError(t, server.Start(t.Context()))
			require.Equal(t, "kept", db.Get(t.Context(), "session").Val())
			_, err := server.Kill(t.Context())
			require.NoError(t, err)
			require.NoError(t, server.Start(t.Context()))
			require.Equal(t, server.Dir, db.ConfigGet(t.Context(), "dir").Val()["dir"])
		})
	}
}

func TestS3KeepsVersionsAndFilesWhereTheySay(t *testing.T) {
	t.Parallel()
	server := lab.StartS3(t)
	server.NewBucket(t, "backups")
	put := func(body string) {
		_, err := server.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("backups"), Key: aws.String("a/b"), Body: strings.NewReader(body)})
		require.NoError(t, err)
	}
	put("first")
	put("second")
	_, err := server.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	versions, err := server.Client().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("backups")})
	require.NoError(t, err)
	require.Len(t, versions.Versions, 2)
	onDisk, err := os.ReadFile(filepath.Join(server.Dir, "backups", "a", "b"))
	require.NoError(t, err)
	require.Equal(t, "second", string(onDisk))
}

func TestS3ServesHTTPSUnderItsOwnAuthority(t *testing.T) {
	t.Parallel()
	server, err := lab.New(t).S3(t.Context(), lab.S3Options{TLS: true})
	require.NoError(t, err)
	require.NoError(t, server.CreateBucket(t.Context(), "backups"))
	require.FileExists(t, server.CACert)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.Endpoint, nil)
	require.NoError(t, err)
	_, err = http.DefaultClient.Do(request)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

func TestTemporalSurvivesKillAndKeepsRunsForNinetyDays(t *testing.T) {
	t.Parallel()
	server := lab.StartTemporal(t)
	_, err := server.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	c, err := client.DialContext(t.Context(), client.Options{HostPort: server.Address})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	found, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: server.Namespace})
	require.NoError(t, err)
	require.Equal(t, 90*24*time.Hour, found.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
}

func TestAServiceWhosePortIsInUseForAMomentIsStartedAgain(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	port, err := lab.FreePort()
	require.NoError(t, err)
	held, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	started := make(chan error, 1)
	go func() {
		_, err := l.Temporal(t.Context(), lab.TemporalOptions{Port: port})
		started <- err
	}()
	require.Eventually(t, func() bool { // the first attempt finds it in use
		log, err := os.ReadFile(l.Path("log", "temporal.log"))
		return err == nil && strings.Contains(string(log), "in use")
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, held.Close())
	require.NoError(t, <-started)
}

func TestCreateEndsTheLabThatACrashLeft(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(lab.Dir(t), "lab")
	first, err := lab.Create(t.Context(), dir)
	require.NoError(t, err)
	server, err := first.Redis(t.Context(), lab.RedisOptions{})
	require.NoError(t, err)
	running, err := server.Running()
	require.NoError(t, err)
	require.True(t, running)

	reopened, err := lab.Open(dir)
	require.NoError(t, err)
	same, err := reopened.Service("redis")
	require.NoError(t, err)
	pid, err := same.PID()
	require.NoError(t, err)
	require.NotZero(t, pid)

	second, err := lab.Create(t.Context(), dir)
	require.NoError(t, err)
	require.NoFileExists(t, second.Path("redis", "redis.conf"))
	require.Error(t, redis.NewClient(&redis.Options{Addr: server.Address, MaxRetries: -1}).Ping(t.Context()).Err())
	require.NoError(t, lab.Remove(t.Context(), dir))
	require.NoDirExists(t, dir)
}

func TestCreateGoesWhereTheAccountCanReach(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // an ordinary user reaches its own folders
	}
	private := t.TempDir()
	require.NoError(t, os.Chmod(private, 0o700))
	dir := filepath.Join(private, ".lab")
	made, err := lab.Create(t.Context(), dir)
	require.NoError(t, err)
	link, err := os.Readlink(dir)
	require.NoError(t, err)
	require.Equal(t, made.Dir, link)
	output, err := made.Command(t.Context(), "/bin/ls", made.Dir).CombinedOutput()
	require.NoError(t, err, string(output))
	require.NoError(t, lab.Remove(t.Context(), dir))
	require.NoDirExists(t, link)
	_, err = os.Lstat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRemoveLeavesWhatIsNoLab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("kept"), 0o600))
	require.ErrorContains(t, lab.Remove(t.Context(), dir), "not a lab")
	require.FileExists(t, precious)
	require.NoError(t, lab.Remove(t.Context(), filepath.Join(dir, "nothing")))
}

func TestKillLeavesAProcessThatOnlyHasTheNumber(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	service, err := l.Define(lab.Program{Name: "tail", Args: []string{"/usr/bin/tail", "-f", "/dev/null"}})
	require.NoError(t, err)
	require.NoError(t, service.Start(t.Context()))
	t.Cleanup(func() {
		_, err := service.Kill(context.WithoutCancel(t.Context()))
		require.NoError(t, err)
	})
	record := l.Path("run", "tail.json")
	genuine, err := os.ReadFile(record)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(record, []byte(strings.Replace(string(genuine), `"start":`, `"start":1`, 1)), 0o644))
	_, err = service.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(record, genuine, 0o644))
	running, err := service.Running()
	require.NoError(t, err)
	require.True(t, running)
}

func TestEndTakesWhatAKilledServiceLeft(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	// A parent that starts a child inside the lab and is killed alone.
	left := l.Path("left")
	require.NoError(t, l.Write(l.Path("parent.sh"), []byte("/usr/bin/tail -f "+l.Path("lab.json")+" & echo $! >"+left+"; wait\n"), 0o644))
	service, err := l.Define(lab.Program{Name: "parent", Args: []string{"/bin/sh", l.Path("parent.sh")}})
	require.NoError(t, err)
	require.NoError(t, service.Start(t.Context()))
	var pid string
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(left)
		pid = strings.TrimSpace(string(raw))
		return err == nil && pid != ""
	}, time.Minute, 10*time.Millisecond)
	_, err = service.KillAlone(t.Context())
	require.NoError(t, err)
	require.FileExists(t, "/proc/"+pid+"/stat", "the child outlives its parent")
	require.NoError(t, l.End(t.Context()))
	require.Eventually(t, func() bool {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	}, time.Minute, 10*time.Millisecond)
}

func TestServicesRunAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	output, err := l.Command(t.Context(), "/usr/bin/id", "-u").Output()
	require.NoError(t, err)
	require.NotEqual(t, "0", strings.TrimSpace(string(output)))
}

func queryText(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	require.NoError(t, err)
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return ""
	}
	return string(last.Rows[0][0])
}
