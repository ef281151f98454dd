package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

var noon = time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC)

// restoring is a recovery 20 s after its start: one step done, one at 50 %.
func restoring() seen {
	checked := noon.Add(2 * time.Second)
	return seen{
		Progress: api.Progress{
			System: "frende", ID: "recover/frende", Phase: api.PhasePreparing, Started: noon, Since: noon,
			Clocks: []api.Clock{
				{Name: "system", Objective: system.Duration(time.Hour), Since: noon},
				{Name: "database/frende", Objective: system.Duration(15 * time.Minute), Since: noon},
			},
			Steps: []api.Step{
				{ID: "database/frende/preflight", Component: "database/frende", Title: "check backup", State: api.StepDone, Started: noon, Finished: &checked, Outcome: "timeline 1"},
				{ID: "database/frende/restore", Workflow: "recover/frende/database/frende", Component: "database/frende", Title: "restore frende (200.0 MiB)", State: api.StepRunning, Started: checked},
			},
		},
		activities: map[string]activity{activityKey("recover/frende/database/frende", "database/frende/restore"): {done: 100 << 20, total: 200 << 20, attempt: 1}},
	}
}

type clockwork struct{ at time.Time }

func (c *clockwork) now() time.Time { return c.at }

func newViewer(width int, clock *clockwork) (*viewer, *bytes.Buffer) {
	out := &bytes.Buffer{}
	screen := func() (int, int) { return width, min(width, 24) }
	return &viewer{out: out, now: clock.now, screen: screen, terminal: terminal{out: out}, meters: map[string]*meter{}}, out
}

func TestASecondAttemptIsSaidAndStartsItsRateAnew(t *testing.T) {
	m := &meter{}
	require.Zero(t, m.rate(0, noon))
	require.InDelta(t, 10, m.rate(10, noon.Add(time.Second)), 0.01)
	require.Zero(t, m.rate(5, noon.Add(2*time.Second)))
	s := restoring()
	_, figures := runningLine(s.Steps[1], activity{done: 5, total: 10, attempt: 2}, 0, nil, noon.Add(20*time.Second))
	require.Equal(t, "[50 %, attempt 2]", figures)
}

func TestRateForgetsWhatIsLongAgo(t *testing.T) {
	m := &meter{}
	for i := range 60 {
		m.rate(int64(i)*100, noon.Add(time.Duration(i)*time.Second))
	}
	require.LessOrEqual(t, len(m.samples), 12)
	require.InDelta(t, 1000, m.rate(59*100+10*1000, noon.Add(69*time.Second)), 200)
}

func TestPlainOutputHasNoControlCharactersAndRepeatsRunningStepsNowAndThen(t *testing.T) {
	clock := &clockwork{at: noon.Add(20 * time.Second)}
	v, out := newViewer(0, clock)
	for range 25 {
		v.show(restoring())
		clock.at = clock.at.Add(500 * time.Millisecond)
	}
	v.leave()
	require.NotContains(t, out.String(), "\x1b")
	require.Equal(t, 1, strings.Count(out.String(), "check backup"))
	require.Equal(t, 1, strings.Count(out.String(), "recover/frende: preparing"))
	require.Equal(t, 2, strings.Count(out.String(), "restore frende (200.0 MiB)"))
}

func TestLinesThatStayBreakBetweenWords(t *testing.T) {
	line := "12:00:02  done     2.0s  files/uploads  compare every restored file of uploads with the backup: 2212 entries equal"
	folded := fold(line, 79)
	for _, one := range strings.Split(folded, "\n") {
		require.LessOrEqual(t, len(one), 79)
	}
	require.Equal(t, strings.Fields(line), strings.Fields(folded), "no word is broken or lost")
	key := "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"
	require.Contains(t, fold("12:00:02  done     2.0s  back up database/frende: "+key+" and more", 79), "\n"+strings.Repeat(" ", 26)+key+"\n")
	require.Equal(t, line, fold(line, -1), "no terminal, nothing to fold to")
	require.Equal(t, line, fold(line, 20))
}

func TestCommandsThatAreAskedForCanBeCopied(t *testing.T) {
	told := asked("It waits. To go on: `lifeboat approve recover/frende --yes-destroy frende`, or `temporal x`. To stop: `lifeboat abort recover/frende`.", 79)
	require.Equal(t, "          It waits. To go on:\n  lifeboat approve recover/frende --yes-destroy frende\n          or\n  temporal x\n"+
		"          To stop:\n  lifeboat abort recover/frende\n", told)
}

func TestWaitingForAPersonIsSaidOnce(t *testing.T) {
	clock := &clockwork{at: noon.Add(20 * time.Second)}
	v, out := newViewer(0, clock)
	s := restoring()
	s.Phase, s.Waiting = api.PhaseWaiting, "approve with: lifeboat approve recover/frende --yes-destroy frende"
	v.show(s)
	v.show(s)
	require.Equal(t, 1, strings.Count(out.String(), "lifeboat approve recover/frende"))
}

func TestLastLineSaysWhatWasAchieved(t *testing.T) {
	result := api.RecoverResult{
		System: "frende", RTA: system.Duration(41200 * time.Millisecond), Objective: system.Duration(time.Hour), Met: true, Report: "recover/frende@1",
		Components: []api.ComponentOutcome{{Component: "database/frende", RPA: system.Duration(22 * time.Second)}, {Component: "files/uploads", RPA: system.Duration(3 * time.Minute)}},
	}
	require.Equal(t, "RECOVERED frende in 41.2s (objective 1h): database/frende RPA 22.0s, files/uploads RPA 3m; report: lifeboat report recover/frende@1", recovered(result))
	result.Met = false
	require.Contains(t, recovered(result), "(objective 1h, missed)")
}
