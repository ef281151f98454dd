package postgres_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
)

// The whole of a drill's comparison: production is written to all the while, and
// the restored cluster, replayed to the reference, equals it to the row.
func TestAReferenceEqualsWhatIsReplayedToItAndTheSandboxServesIt(t *testing.T) {
	c := startCluster(t)
	c.exec(t, `CREATE DATABASE other`,
		`CREATE TABLE people (id bigserial PRIMARY KEY, name text, at timestamptz DEFAULT now(), extra jsonb, photo bytea, x float8)`,
		`INSERT INTO people (name, extra, photo, x) SELECT 'p' || g, jsonb_build_object('g', g), decode('00ff', 'hex'), g / 3.0 FROM generate_series(1, 2000) g`,
		`CREATE TABLE parts (id int) PARTITION BY RANGE (id)`, `CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)`,
		`INSERT INTO parts SELECT generate_series(1, 50)`, `CREATE UNLOGGED TABLE gone AS SELECT 1`, `SELECT lo_from_bytea(0, '\x0102')`,
		`CREATE TABLE during (id int, t text, n bigserial)`)
	result, dir := c.backup(t)
	stop := c.load(t, "during")

	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	reference, err := server.TakeReference(t.Context(), "lifeboat drill")
	require.NoError(t, err)
	require.Positive(t, stop(), "nobody was kept from writing")
	c.exec(t, "DELETE FROM people WHERE id = 7")
	c.archived(t)
	names := map[string]postgres.TableDigest{}
	for _, d := range reference.Tables {
		names[d.Name] = d
	}
	require.EqualValues(t, 2000, names["postgres: public.people"].Rows)
	require.EqualValues(t, 50, names["postgres: public.parts_1"].Rows)
	require.EqualValues(t, 1, names["postgres: large objects"].Rows)
	require.Contains(t, names, "postgres: public.people_id_seq")
	require.NotContains(t, names, "postgres: public.gone", "what a crash empties is not compared")

	r := c.restore(t, result, dir)
	require.NoError(t, postgres.Stage(postgres.StageConfig{DataDir: r.dir, Owner: c.owner}))
	config, _ := c.instance(t, r, result, reference.Segment)
	i, err := postgres.StartInstance(t.Context(), config)
	require.NoError(t, err)
	defer i.Close(t.Context())
	replayed, err := i.WaitReplayed(t.Context(), reference.Segment.Start(postgres.DefaultSegmentSize), nil)
	require.NoError(t, err)
	login, err := i.Login("postgres")
	require.NoError(t, err)
	restored, err := postgres.Connect(t.Context(), login)
	require.NoError(t, err)
	found, err := restored.Digests(t.Context())
	require.NoError(t, err)
	restored.Close(t.Context())
	equal, err := postgres.Compare("frende", reference.Tables, found)
	require.NoError(t, err)
	require.Equal(t, len(reference.Tables), equal)

	now, err := server.Digests(t.Context())
	require.NoError(t, err)
	_, err = postgres.Compare("frende", reference.Tables, now)
	require.True(t, fault.Has(err, fault.VerificationFailed), "production has gone on: %v", err)
	_, err = postgres.Compare("frende", reference.Tables, found[1:])
	require.ErrorContains(t, err, "it is missing")

	// It becomes the sandbox's primary, and production notices nothing of it.
	before, err := server.Footprint(t.Context())
	require.NoError(t, err)
	require.NoError(t, i.Stop(t.Context()))
	control, err := postgres.ReadControl(t.Context(), c.BinDir, r.dir)
	require.NoError(t, err)
	require.NoError(t, postgres.Handover(r.dir, c.owner, control, result.Timeline, postgres.Goal{}, ""))
	port, err := lab.FreePort()
	require.NoError(t, err)
	sandbox := postgres.SandboxConfig{
		DataDir: r.dir, BinDir: c.BinDir, Owner: c.owner, RunDir: r.dir + ".sandbox", SocketDir: r.socket, Port: port, Superuser: "postgres",
	}
	for range 2 { // an attempt after one that was cut off finds it running
		require.NoError(t, postgres.StartSandbox(t.Context(), sandbox))
	}
	inside, err := sandbox.Reach()
	require.NoError(t, err)
	same := postgres.Restored{SystemID: control.SystemID, DataDir: r.dir, Timeline: 1}
	require.NoError(t, postgres.AwaitReplayed(t.Context(), inside, same, replayed.LSN, time.Minute))
	promoted, err := postgres.Promote(t.Context(), inside, same)
	require.NoError(t, err)
	require.EqualValues(t, 2, promoted.Timeline)
	outside, err := postgres.NewLogin(c.DSN, postgres.LoginOptions{Host: "127.0.0.1", Port: port})
	require.NoError(t, err)
	reached, err := postgres.Connect(t.Context(), outside)
	require.NoError(t, err, "the roles came with their passwords")
	require.Equal(t, "off", reached.Facts().ArchiveMode)
	reached.Close(t.Context())

	require.NoError(t, postgres.StopInstance(t.Context(), r.dir, r.socket))
	after, err := server.Footprint(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Positive(t, after.PID)
	require.NoFileExists(t, filepath.Join(c.archive, "00000002.history"), "a sandbox archives nothing")
}

func TestAWriterThatDoesNotLetGoIsNamedAndKeepsItsTable(t *testing.T) {
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	server, err := postgres.Connect(t.Context(), c.login)
	require.NoError(t, err)
	defer server.Close(t.Context())
	writer := c.begin(t, "INSERT INTO t VALUES (1)")
	_, err = server.TakeReference(t.Context(), "lifeboat drill")
	require.True(t, fault.Has(err, fault.ServerRefused), "%v", err)
	require.ErrorContains(t, err, "somebody writes to a table")
	require.Contains(t, fault.HintOf(err), "pg_stat_activity")
	writer(t)
	c.exec(t, "INSERT INTO t VALUES (2)")
}
