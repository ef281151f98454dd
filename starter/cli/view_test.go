package cli

import (
	"bytes"
	"encoding/json"
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
			System: "frende", ID: "recover/frende", Phase: api.PhasePreparing, Entered: noon, Started: noon, Since: noon,
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
	folded := fold(line, 79, indent)
	for _, one := range strings.Split(folded, "\n") {
		require.LessOrEqual(t, len(one), 79)
	}
	require.Equal(t, strings.Fields(line), strings.Fields(folded), "no word is broken or lost")
	key := "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"
	require.Contains(t, fold("12:00:02  done     2.0s  back up database/frende: "+key+" and more", 79, indent), "\n"+strings.Repeat(" ", 26)+key+"\n")
	require.Equal(t, line, fold(line, -1, indent), "no terminal, nothing to fold to")
	require.Equal(t, line, fold(line, 20, indent))
}

func TestCommandsThatAreAskedForCanBeCopied(t *testing.T) {
	told := asked("It waits. To go on: `lifeboat approve recover/frende --yes-destroy frende`, or `temporal x`. To stop: `lifeboat abort recover/frende`.", 79)
	require.Equal(t, "It waits. To go on:\n  lifeboat approve recover/frende --yes-destroy frende\nor\n  temporal x\n"+
		"To stop:\n  lifeboat abort recover/frende\n", told)
	command := "temporal workflow update execute -w recover/frende --name approve --input '{\"system\":\"frende\"}'"
	require.Equal(t, "  temporal workflow update execute -w recover/frende --name approve \\\n    --input '{\"system\":\"frende\"}'\n", asked("`"+command+"`;", 79))
	require.Equal(t, "  "+command+"\n", asked("`"+command+"`", -1))
}

func TestWhatEndedIsToldInItsOrder(t *testing.T) {
	clock := &clockwork{at: noon.Add(time.Hour)} // somebody looks when all is over
	v, out := newViewer(0, clock)
	s := restoring()
	late, early, end := noon.Add(9*time.Second), noon.Add(8*time.Second), noon.Add(10*time.Second)
	s.Steps[1].State, s.Steps[1].Finished, s.Steps[1].Outcome = api.StepAborted, &late, "cancelled"
	s.Steps = append(s.Steps, api.Step{ID: "other", Title: "restore other", State: api.StepDone, Started: noon.Add(3 * time.Second), Finished: &early})
	s.Phase, s.Finished, s.Entered = api.PhaseAborted, &end, end
	v.show(s)
	require.Equal(t, "12:00:02  done     2.0s  database/frende  check backup: timeline 1\n"+
		"12:00:08  done     5.0s  restore other\n"+
		"12:00:09  aborted  7.0s  database/frende  restore frende (200.0 MiB)\n"+
		"12:00:10  recover/frende: aborted\n", out.String())
}

func TestWhatIsHeardOfLateIsToldFirst(t *testing.T) {
	clock := &clockwork{at: noon.Add(3 * time.Second)}
	v, out := newViewer(0, clock)
	s := restoring()
	s.Steps = s.Steps[:1] // ended at 12:00:02
	v.show(s)
	require.Empty(t, out.String())
	earlier := noon.Add(time.Second)
	clock.at = clock.at.Add(pollEvery)
	s.Steps = append(s.Steps, api.Step{ID: "late", Title: "look", State: api.StepDone, Started: noon, Finished: &earlier})
	v.show(s)
	clock.at = clock.at.Add(pollEvery)
	v.show(s)
	const all = "12:00:00  recover/frende: preparing\n12:00:01  done     1.0s  look\n12:00:02  done     2.0s  database/frende  check backup: timeline 1\n"
	require.Equal(t, all, out.String())
	s.Steps = append(s.Steps, api.Step{ID: "last", Title: "end", State: api.StepDone, Started: noon, Finished: &clock.at})
	v.show(s)
	require.Equal(t, all, out.String())
	v.leave()
	require.Contains(t, out.String(), "done     4.0s  end\n", "nothing that is held back is lost")
}

func TestWatchingEndsAsTheCommandThatStartedTheRun(t *testing.T) {
	result := func(value any) json.RawMessage {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		return text
	}
	recovery := api.RecoverResult{System: "frende", RTA: system.Duration(time.Minute), Objective: system.Duration(time.Hour), Met: true}
	for workflow, want := range map[string]string{
		api.RecoverSystem: recovered(recovery), api.RecoverDatabase: recovered(recovery),
		api.DrillSystem: rehearsed(api.DrillResult{RecoverResult: recovery}), api.CleanUp: "DONE id",
	} {
		require.Equal(t, want, ending("id", workflow, result(recovery)), workflow)
	}
	backup := api.BackupResult{System: "frende", Started: noon, Finished: noon.Add(time.Second)}
	require.Equal(t, "BACKED UP frende in 1.0s: 0 backups", ending("id", api.BackupSystem, result(backup)))
	require.Equal(t, "DONE id", ending("id", api.RecoverSystem, nil))
}

func TestTheLastLineBreaksBetweenWords(t *testing.T) {
	out := &bytes.Buffer{}
	a := &app{Process: Process{Stdout: out, Screen: func() (int, int) { return 80, 24 }}}
	line := recovered(api.RecoverResult{
		System: "frende", RTA: system.Duration(41200 * time.Millisecond), Objective: system.Duration(time.Hour), Met: true, Report: "recover/frende",
		Components: []api.ComponentOutcome{{Component: "database/frende"}, {Component: "cache/sessions"}, {Component: "files/uploads"}},
	})
	a.say(line)
	for one := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len(one), 80)
	}
	require.Equal(t, strings.Fields(line), strings.Fields(out.String()))
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
	require.Equal(t, "RECOVERED frende in 41.2s (objective 1h): lost at most (RPA) 22.0s of database/frende, 3m of files/uploads; report: lifeboat report recover/frende@1", recovered(result))
	result.Met = false
	require.Contains(t, recovered(result), "(objective 1h, missed)")
}
