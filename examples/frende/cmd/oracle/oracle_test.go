package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

func TestPositionsAreReadAndWritten(t *testing.T) {
	at, err := parseLSN("1A/2B000148")
	require.NoError(t, err)
	require.Equal(t, lsn(0x1A2B000148), at)
	require.Equal(t, "1A/2B000148", at.String())
	for _, bad := range []string{"", "1A", "1A/", "/1", "x/1", "1/100000000"} {
		_, err := parseLSN(bad)
		require.Error(t, err, bad)
	}
}

func TestContentFollowsFromItsNumberAlone(t *testing.T) {
	for _, k := range []kind{row, key, file} {
		n := number{2, 31}
		require.Equal(t, content("a", k, n), content("a", k, n))
		require.NotEqual(t, content("a", k, n), content("b", k, n))
		require.NotEqual(t, content("a", k, n), content("a", k, number{2, 32}))
		run, found, ok := numberIn(numberedContent, string(content("a", k, n)))
		require.True(t, ok)
		require.Equal(t, "a", run)
		require.Equal(t, n, found)
	}
	run, found, ok := numberIn(numberedName, fileName("a", number{3, 4}))
	require.True(t, ok)
	require.Equal(t, "a", run)
	require.Equal(t, number{3, 4}, found)
}

func TestJournalGivesBackWhatWasSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	h, entries := history()
	j, err := createJournal(path, h)
	require.NoError(t, err)
	appended := make(chan error)
	for _, e := range entries {
		go func() { appended <- j.append(e) }()
	}
	for range entries {
		require.NoError(t, <-appended)
	}
	require.NoError(t, j.close())
	_, err = createJournal(path, h)
	require.ErrorIs(t, err, fs.ErrExist, "a log is never written over")

	readHeader, readEntries, err := readJournal(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, h.Configuration, readHeader.Configuration)
	require.ElementsMatch(t, entries, readEntries)

	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, whole[:len(whole)-5], 0o600))
	_, readEntries, err = readJournal(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, readEntries, len(entries)-1, "a line that was cut off does not count")
	require.NoError(t, os.WriteFile(path, append(whole[:len(whole)-5], "\n{}\n"...), 0o600))
	_, _, err = readJournal(t.Context(), path)
	require.Error(t, err)
}

func TestJudgeRefusesToGuess(t *testing.T) {
	require.Equal(t, exitNoVerdict, run(t.Context(), nil))
	require.Equal(t, exitNoVerdict, run(t.Context(), []string{"guess"}))
	require.Equal(t, exitNoVerdict, run(t.Context(), []string{"judge", "--log", filepath.Join(t.TempDir(), "none")}))
	now := time.Now().Format(time.RFC3339Nano)
	require.Equal(t, exitNoVerdict, run(t.Context(), []string{
		"judge", "--log", filepath.Join(t.TempDir(), "none"),
		"--restored-lsn", "0/1", "--cache-window", now + "," + now, "--files-window", now + "," + now,
	}))
	var w window
	require.Error(t, w.Set("yesterday"))
	require.Error(t, w.Set("2024-01-15T02:00:01Z,2024-01-15T02:00:00Z"))
}

// TestOracleJudgesRealServers records through the real application and then
// harms what it finds, one thing at a time.
func TestOracleJudgesRealServers(t *testing.T) {
	l := lab.New(t)
	database, err := l.Postgres(t.Context(), lab.PostgresOptions{})
	require.NoError(t, err)
	cache, err := l.Redis(t.Context(), lab.RedisOptions{AppendOnly: true})
	require.NoError(t, err)
	where := site.Storage{Database: database.DSN, Redis: site.Redis{Address: cache.Address, Password: cache.Password}}
	config, app := startApplication(t, l, &where)

	log := filepath.Join(t.TempDir(), "oracle.log")
	ctx, stop := context.WithCancel(t.Context())
	recorded := make(chan error, 1)
	go func() {
		recorded <- record(ctx, plan{config: config, app: app, log: log, rows: 2, keys: 1, files: 1, pace: time.Millisecond})
	}()
	require.Eventually(t, func() bool {
		_, entries, err := readJournal(t.Context(), log)
		return err == nil && len(entries) > 60
	}, time.Minute, 50*time.Millisecond)
	stop()
	require.NoError(t, <-recorded)

	h, entries, err := readJournal(t.Context(), log)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), where.Database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	db := redis.NewClient(&redis.Options{Addr: cache.Address, Password: cache.Password})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	now := time.Now()
	at := point{LSN: 1 << 60, Cache: window{now, now}, Files: window{now, now}}
	verdictNow := func() verdict {
		found, err := findSurvivors(t.Context(), config, h)
		require.NoError(t, err)
		return judge(h, entries, found, at)
	}
	v := verdictNow()
	require.True(t, v.Agreed, "%+v", v)
	require.Equal(t, len(entries), v.Required)
	stamp := now.Format(time.RFC3339Nano)
	arguments := []string{"judge", "--config", config, "--log", log, "--restored-lsn", "FFFFFFFF/0", "--cache-window", stamp + "," + stamp, "--files-window", stamp + "," + stamp}
	require.Zero(t, run(t.Context(), arguments))

	execute := func(sql string, args ...any) {
		tag, err := conn.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected())
	}
	row5 := rowKey(h.Run, number{1, 5})
	execute("update messages set body = body || ' ' where key = $1", row5)
	require.Equal(t, 1, verdictNow().Rows.Changed)
	execute("update messages set body = left(body, -1) where key = $1", row5)
	require.True(t, verdictNow().Agreed)
	execute("insert into users (name, email) values ('later', 'later@frende.example')")
	require.Len(t, verdictNow().Baseline, 1)
	execute("delete from users where name = 'later'")
	execute("delete from messages where key = $1", row5)
	v = verdictNow()
	require.Equal(t, 1, v.Rows.Lost)
	require.Equal(t, 1, v.Rows.Gaps)
	require.Equal(t, exitDisagrees, run(t.Context(), arguments))

	keys, err := db.Keys(t.Context(), "session:*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	require.NoError(t, db.Persist(t.Context(), keys[0]).Err())
	require.Equal(t, 1, verdictNow().Keys.Changed)
	require.NoError(t, db.Del(t.Context(), keys[0]).Err())
	require.Equal(t, 1, verdictNow().Keys.Lost)
	require.NoError(t, db.Set(t.Context(), "foreign", "x", 0).Err())
	require.Len(t, verdictNow().Baseline, 1)

	photo := filepath.Join(where.Photos, fmt.Sprint(h.Author), fileName(h.Run, number{1, 3}))
	require.NoError(t, os.Truncate(photo, 10))
	require.Equal(t, 1, verdictNow().Files.Changed)
	require.NoError(t, os.Remove(photo))
	require.Equal(t, 1, verdictNow().Files.Lost)
	require.NoError(t, os.Chmod(filepath.Join(config, site.LookFile), 0o600))
	require.Len(t, verdictNow().Configuration, 1)
}

// startApplication builds Frende and runs one back end and the front end.
func startApplication(t *testing.T, l *lab.Lab, where *site.Storage) (config, url string) {
	t.Helper()
	var err error
	config, err = l.Folder("config")
	require.NoError(t, err)
	where.Photos, err = l.Folder("photos")
	require.NoError(t, err)
	front, err := lab.FreePort()
	require.NoError(t, err)
	back, err := lab.FreePort()
	require.NoError(t, err)
	for name, text := range map[string]string{
		site.StorageFile: fmt.Sprintf("database: %s\nredis: {address: %q, password: %q}\nphotos: %s\n", where.Database, where.Redis.Address, where.Redis.Password, where.Photos),
		site.NetworkFile: fmt.Sprintf("frontend: 127.0.0.1:%d\nbackends: {backend-1: \"127.0.0.1:%d\"}\n", front, back),
		site.LookFile:    "title: Frende\nwelcome: hello\n",
	} {
		require.NoError(t, l.Write(filepath.Join(config, name), []byte(text), 0o644))
	}
	program := l.Path("app")
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/frende/lifeboat/examples/frende/app").CombinedOutput()
	require.NoError(t, err, string(output))
	output, err = l.Command(t.Context(), program, "migrate", "--config", config).CombinedOutput()
	require.NoError(t, err, string(output))
	url = fmt.Sprintf("http://127.0.0.1:%d", front)
	for _, p := range []lab.Program{
		{Name: "backend-1", Args: []string{program, "backend", "--config", config, "--name", "backend-1"}, Ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", back)},
		{Name: "frontend", Args: []string{program, "frontend", "--config", config}, Ready: url + "/readyz"},
	} {
		service, err := l.Define(p)
		require.NoError(t, err)
		require.NoError(t, service.Start(t.Context()))
	}
	return config, url
}

func TestOracleImportsNoPackageOfWhatItJudges(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dependency := range strings.FieldsSeq(string(output)) {
		if inner, ok := strings.CutPrefix(dependency, "github.com/frende/lifeboat/"); ok {
			require.True(t, strings.HasPrefix(inner, "examples/"), dependency)
		}
	}
}

func TestVerdictIsJSON(t *testing.T) {
	h, entries := history()
	found, at := recoveredTo(h, entries, 3)
	raw, err := json.Marshal(judge(h, entries, found, at))
	require.NoError(t, err)
	var read verdict
	require.NoError(t, json.Unmarshal(raw, &read))
	require.True(t, read.Agreed)
	require.Equal(t, at.LSN, read.Point.LSN)
}
