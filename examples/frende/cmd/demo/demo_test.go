package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/torture"
)

// programsDir has a lab in which the programs are built once, for the demos of all tests.
var programsDir string

var programs = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	root, err := project(ctx)
	if err != nil {
		return "", err
	}
	l, err := lab.Create(ctx, filepath.Join(programsDir, "lab"))
	if err != nil {
		return "", err
	}
	d := &demo{lab: l, root: root}
	return l.Path("bin"), d.build(ctx)
})

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	var err error
	if programsDir, err = os.MkdirTemp("", "demo-"); err == nil {
		err = os.Chmod(programsDir, 0o755)
	}
	if err != nil {
		panic(err)
	}
	defer func() {
		if err := os.RemoveAll(programsDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return m.Run()
}

// screen is written to by several programs at once, as a terminal is.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestDemoEndsAsWritten is the whole road at small size, calm and with each chaos.
func TestDemoEndsAsWritten(t *testing.T) {
	for _, told := range []struct {
		chaos    chaos
		disaster disaster
		ends     string
		says     []string
	}{
		{noChaos, disasterSystem, endsRecovered, []string{"; 0 of ", " writes before the recovery point lost, ", " acknowledged after it are gone; report "}},
		{noChaos, disasterDrill, endsRehearsed, []string{"tables and sequences equal production's", "production untouched, nothing left behind", "production holds all "}},
		{noChaos, disasterTable, endsRecovered, []string{"statement: DROP TABLE matches CASCADE", "RECOVER TO", "stands there: 20", "; 0 of "}},
		{chaosWorker, disasterSystem, endsRecovered, []string{"kill -9 of worker", "attempt 2"}},
		{chaosTemporal, disasterSystem, endsRecovered, []string{"kill -9 of temporal"}},
		{chaosChunk, disasterSystem, endsRecovered, []string{"what came from the other region", "/chunk/"}},
		{chaosChunks, disasterSystem, endsNotRecovered, []string{"/chunk/", "nothing of the old system was destroyed"}},
	} {
		name := string(told.chaos) + string(told.disaster)
		if name == "" {
			name = "calm"
		}
		t.Run(name, func(t *testing.T) {
			demonstrated(t, options{seed: 7, chaos: told.chaos, disaster: told.disaster}, told.ends, told.says...)
		})
	}
}

// TestTheRegionIsLostTogetherWithTheHost is row 21 of the reliability table: what
// is left is the second region, and a host on which nothing is known of any backup.
func TestTheRegionIsLostTogetherWithTheHost(t *testing.T) {
	torture.Row(t, 21, 1, 20, func(t *testing.T, _ int, random *rand.Rand) {
		demonstrated(t, options{seed: random.Uint64(), disaster: disasterRegion}, endsRecovered, "the primary region is gone", "lifeboat --from dr recover system")
	})
}

// How the last line begins.
const (
	endsRecovered    = "RECOVERED frende in "
	endsRehearsed    = "REHEARSED frende in "
	endsNotRecovered = "NOT RECOVERED frende: "
)

// demonstrated has the demo end so at small size, say all of says, and leave nothing running.
func demonstrated(t *testing.T, o options, ends string, says ...string) {
	t.Helper()
	dir := filepath.Join(lab.Dir(t), "lab")
	t.Cleanup(func() { require.NoError(t, lab.Remove(context.WithoutCancel(t.Context()), dir)) })
	var err error
	o.programs, err = programs()
	require.NoError(t, err)
	o.dir, o.megabytes, o.photoCount, o.keys, o.settle, o.spread = dir, 20, 100, 500, 2*time.Second, time.Second
	o.archive = time.Minute
	if o.disaster == disasterTable {
		o.archive = 2 * time.Second // the archive has to come to hold what was written after the accident
	}
	var out screen
	well := tell(t.Context(), o, &out)
	t.Log(out.String())
	require.Equal(t, ends != endsNotRecovered, well)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.True(t, strings.HasPrefix(lines[len(lines)-1], ends), lines[len(lines)-1])
	for _, text := range says {
		require.Contains(t, out.String(), text)
	}
	if ends == endsRecovered {
		text, err := os.ReadFile(filepath.Join(dir, "report.md"))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "# "), "it is Markdown")
	}
	left, err := lab.Open(dir)
	require.NoError(t, err)
	services, err := left.Services()
	require.NoError(t, err)
	for _, service := range services {
		running, err := service.Running()
		require.NoError(t, err)
		require.False(t, running, service.Name())
	}
}

func TestWhatAnEarlierDemoLeftIsNamedBeforeItGoes(t *testing.T) {
	dir := filepath.Join(lab.Dir(t), "lab")
	require.Empty(t, earlier(dir))
	left, err := lab.Create(t.Context(), dir)
	require.NoError(t, err)
	_, err = left.Define(lab.Program{Name: "idle", Args: []string{"/bin/true"}})
	require.NoError(t, err)
	require.Equal(t, "the demo in "+dir+", of which 0 programs ran", earlier(dir))
	var out screen
	require.NoError(t, clean(t.Context(), dir, &out))
	require.NoError(t, clean(t.Context(), dir, &out))
	require.Equal(t, "ended and removed: the demo in "+dir+", of which 0 programs ran\nended and removed: nothing: no demo was left in "+dir+"\n", out.String())
	require.NoDirExists(t, dir)
}

func TestTheLastLineCountsTheWritesOnBothSidesOfTheRecoveryPoint(t *testing.T) {
	v := verdict{Required: 15447, Rows: tally{Excess: 8000}, Keys: tally{Excess: 400}, Files: tally{Excess: 19}}
	require.Equal(t, "0 of 15447 writes before the recovery point lost, 8419 acknowledged after it are gone", v.losses())
}

func TestOptionsComeFromFlagsAndEnvironment(t *testing.T) {
	env := map[string]string{"CHAOS": "chunk", "KEEP": "1"}
	o, err := parse([]string{"-seed", "7", "-database", "5", "-settle", "3s"}, func(name string) string { return env[name] })
	require.NoError(t, err)
	require.Equal(t, chaosChunk, o.chaos)
	require.True(t, o.keep)
	require.EqualValues(t, 7, o.seed)
	require.EqualValues(t, 5, o.megabytes)
	require.Equal(t, 3*time.Second, o.settle)

	env = map[string]string{"KEEP": "0"}
	o, err = parse(nil, func(name string) string { return env[name] })
	require.NoError(t, err)
	require.False(t, o.keep)
	require.GreaterOrEqual(t, o.settle, 60*time.Second, "nothing is forced in the minute before the disaster")

	env = map[string]string{"CHAOS": "everything"}
	_, err = parse(nil, func(name string) string { return env[name] })
	require.ErrorContains(t, err, "not \"everything\"")
}

// recovered is a report and a verdict with which everything is well.
func recovered(at time.Time) (runReport, verdict) {
	gone := at.Add(-19 * time.Second)
	return runReport{
		Outcome: "succeeded", Disaster: at, Started: at.Add(time.Second), Finished: at.Add(40 * time.Second), Objective: "1h",
		Points: []runPoint{{Component: "database/frende", Kind: "database", LSN: "0/3000148", Time: at.Add(-20 * time.Second)}},
	}, verdict{Agreed: true, Required: 10, Rows: tally{FirstGone: &gone}}
}

func TestNothingShortOfAgreementIsRecovered(t *testing.T) {
	at := time.Now()
	for name, harm := range map[string]struct {
		do     func(*runReport, *verdict)
		reason string
	}{
		"the oracle disagrees": {func(_ *runReport, v *verdict) { v.Agreed, v.Lost, v.Problems = false, 1, []string{"row 1/7 is lost"} }, "1 of 10 writes before the recovery point lost; row 1/7 is lost"},
		"the run failed":       {func(r *runReport, _ *verdict) { r.Outcome = "failed" }, `the report says "failed"`},
		"another disaster":     {func(r *runReport, _ *verdict) { r.Disaster = at.Add(time.Second) }, "not from the disaster"},
		"too old a point": {func(r *runReport, v *verdict) {
			r.Points[0].Time = at.Add(-time.Minute - grace - time.Second)
		}, "1m31s old, more than 1m30s"},
		"too good a point": {func(r *runReport, _ *verdict) { r.Points[0].Time = at.Add(-18 * time.Second) }, "the report claims everything up to"},
		"no point":         {func(r *runReport, _ *verdict) { r.Points = nil }, "no recovery point of kind database"},
	} {
		t.Run(name, func(t *testing.T) {
			report, answer := recovered(at)
			harm.do(&report, &answer)
			d := &demo{options: options{archive: time.Minute}, out: &bytes.Buffer{}}
			require.ErrorContains(t, d.agree(t.Context(), report, at, answer), harm.reason)
		})
	}
}

func TestChaosHasToShowInTheReport(t *testing.T) {
	report, _ := recovered(time.Now())
	d := &demo{out: &bytes.Buffer{}, harmed: "database-backups/x.base/chunk/1/000002"}
	require.NoError(t, d.evidence(report, struck{}))
	d.chaos = chaosWorker
	require.ErrorContains(t, d.evidence(report, struck{what: "worker"}), "no second attempt")
	d.chaos = chaosChunk
	require.ErrorContains(t, d.evidence(report, struck{}), "does not say")

	report.Steps = []runStep{{ID: "database/frende/restore", Attempts: 2, Bytes: 100e6, Resumed: 40e6, Fallbacks: []fallback{{Object: d.harmed, Reason: "IntegrityError"}}}}
	report.Fallbacks = report.Steps[0].Fallbacks
	require.NoError(t, d.evidence(report, struck{}))
	require.Len(t, report.fallbacks(), 1)
	d.chaos = chaosWorker
	require.NoError(t, d.evidence(report, struck{what: "worker", share: 0.42}))
	require.Contains(t, d.out.(*bytes.Buffer).String(), "attempt 2, 40.0 of 100.0 MB resumed")
}

func TestReportIsReadAsItIsWritten(t *testing.T) {
	var report runReport
	require.NoError(t, json.Unmarshal([]byte(`{"outcome":"succeeded","disaster":"2024-01-15T02:10:00Z","finished":"2024-01-15T02:10:41Z","objective":"1h",
		"points":[{"component":"database/frende","kind":"database","time":"2024-01-15T02:09:38Z","rpa":"22s"}]}`), &report))
	point, err := report.point("database")
	require.NoError(t, err)
	require.Equal(t, 22*time.Second, report.rpa(point))
	require.Equal(t, "22.0s", brief(report.rpa(point)))
	require.Equal(t, "1m1s", brief(61*time.Second))
}

func TestBytesUnderCountsWhatIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "base"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "pg_wal"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "base", "1"), make([]byte, 8192), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_wal", "1"), make([]byte, 8192), 0o644))
	total, err := bytesUnder(dir, "pg_wal")
	require.NoError(t, err)
	require.EqualValues(t, 8192, total)
	total, err = bytesUnder(filepath.Join(dir, "none"), "")
	require.NoError(t, err)
	require.Zero(t, total)
}

func TestTheReviewOfAFreshDemoIsNotOverdue(t *testing.T) {
	d := &demo{started: time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC), lab: &lab.Lab{Dir: t.TempDir()}}
	d.redis = &lab.Redis{}
	for i := range d.regions {
		d.regions[i] = &lab.S3{}
	}
	text, err := d.lifeboatConfiguration()
	require.NoError(t, err)
	require.Contains(t, string(text), `plan: {version: "1.0", last_review: 2026-01-31, next_review: 2026-03-03}`)
}
