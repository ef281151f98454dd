package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// recovering is a recovery of three components, 20 s after its start.
func recovering() seen {
	s := restoring()
	s.Workflow, s.Target = api.RecoverSystem, "production"
	verified := noon.Add(12 * time.Second)
	s.Components = []api.ComponentView{
		{ID: "database/frende"}, {ID: "cache/sessions", Gate: api.GatePrepared}, {ID: "files/uploads"},
	}
	s.Steps = append(s.Steps,
		api.Step{ID: "cache/sessions/verify", Component: "cache/sessions", Title: "load the restored sessions", State: api.StepDone, Started: noon.Add(10 * time.Second), Finished: &verified, Outcome: "100 keys"},
		api.Step{ID: "record", Title: "record the recovery point", State: api.StepRunning, Started: noon.Add(19 * time.Second)},
	)
	return s
}

func drawn(lines []styled) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(line.text, " ") + "\n")
	}
	return b.String()
}

func TestAFrameShowsClockComponentsAndWhatEndedLast(t *testing.T) {
	restore := activityKey("recover/frende/database/frende", "database/frende/restore")
	at := noon.Add(20 * time.Second)
	for name, row := range map[string]struct {
		to     size
		change func(*seen)
		rates  map[string]float64
		at     time.Time
		want   string
	}{
		"80 by 24": {to: size{80, 24}, rates: map[string]float64{restore: 10 << 20}, at: at, want: `
RecoverSystem frende  recover/frende                                12:00:20 UTC
preparing
RTO 1h  [------------------------]  20.0s passed, missed in 59m40s

database/frende  restore frende (20…  100.0 of 200.0 MiB  10.0 MiB/s  10.0s left
cache/sessions   prepared, waits for the others
files/uploads    waits
                 record the recovery point                                  1.0s

12:00:02  done     2.0s  database/frende  check backup: timeline 1
12:00:12  done     2.0s  cache/sessions  load the restored sessions: 100 keys
`},
		"narrow and low": {to: size{50, 8}, at: at, want: `
RecoverSystem frende  recover/frende  12:00:20 UTC
preparing
RTO 1h  [------------------------]  20.0s passed,…

database/frende  restore fren…  100.0 of 200.0 MiB
… and 3 more lines

12:00:12  done     2.0s  cache/sessions  load the…
`},
		"waiting for a person, beyond the objective": {to: size{80, 24}, at: noon.Add(61 * time.Minute), change: func(s *seen) {
			s.Phase, s.Waiting, s.Steps = api.PhaseWaiting, "It waits. To go on: `lifeboat approve recover/frende --yes-destroy frende`.", nil
			for i := range s.Components {
				s.Components[i].Gate = api.GatePrepared
			}
		}, want: `
RecoverSystem frende  recover/frende                                13:01:00 UTC
waiting for approval
RTO 1h  [########################]  OBJECTIVE MISSED by 1m, the run goes on

It waits. To go on:
  lifeboat approve recover/frende --yes-destroy frende

database/frende  prepared, waits for approval
cache/sessions   prepared, waits for approval
files/uploads    prepared, waits for approval
`},
		"a drill in its recovery, and another attempt": {to: size{80, 24}, at: at, change: func(s *seen) {
			s.Workflow, s.ID, s.Target, s.Phase, s.below = api.DrillSystem, "drill/frende/2024-Q1", "sandbox", api.PhaseRehearsing, api.PhasePreparing
			s.Components, s.merged = nil, map[string]bool{"recover/frende@sandbox": true}
			s.Steps = append(s.Steps[1:2], api.Step{ID: "recover", Workflow: "recover/frende@sandbox", Title: "recover frende", State: api.StepRunning, Started: noon})
			s.activities[restore] = activity{attempt: 3, failure: "store can't be reached\nand more"}
		}, want: `
DrillSystem frende → sandbox  drill/frende/2024-Q1                  12:00:20 UTC
recovering into the sandbox: preparing
RTO 1h  [------------------------]  20.0s passed, missed in 59m40s

database/frende  restore frende (200.0 MiB)                                18.0s
                 attempt 3: store can't be reached
`},
		"the end": {to: size{80, 24}, at: at.Add(time.Hour), change: func(s *seen) {
			end := noon.Add(30 * time.Second)
			s.Finished, s.Phase, s.Steps, s.Failure = &end, api.PhaseFailed, s.Steps[:1], "it went wrong"
			s.Clocks[0].Stopped, s.Clocks[1].Stopped = &end, &end
			s.Components[0].Gate = api.GateDone
		}, want: `
RecoverSystem frende  recover/frende                                12:00:30 UTC
failed
it went wrong
RTO 1h  [------------------------]  met in 30.0s

database/frende  back after 30.0s (objective 15m)
cache/sessions   prepared, waits for the others
files/uploads    waits

12:00:02  done     2.0s  database/frende  check backup: timeline 1
`},
	} {
		t.Run(name, func(t *testing.T) {
			s := recovering()
			if row.change != nil {
				row.change(&s)
			}
			require.Equal(t, row.want[1:], drawn(frame(s, row.rates, row.to, row.at)))
		})
	}
}

func TestAComponentSaysForWhomItWaits(t *testing.T) {
	prepared := api.ComponentView{ID: "database/frende", Gate: api.GatePrepared}
	for _, row := range []struct {
		other   api.ComponentView
		waiting string
		want    string
	}{
		{api.ComponentView{ID: "files/uploads"}, "", ", waits for the others"},
		{api.ComponentView{ID: "files/uploads", Gate: api.GatePrepared}, "approve it", ", waits for approval"},
		{api.ComponentView{ID: "files/uploads", Gate: api.GatePrepared}, "", ""},
		{api.ComponentView{ID: "files/uploads", Gate: api.GateReady}, "", ""},
		{api.ComponentView{ID: "files/uploads", Outcome: "failed"}, "", ""},
		{prepared, "approve it", ", waits for approval"},
	} {
		s := seen{Progress: api.Progress{Waiting: row.waiting, Components: []api.ComponentView{prepared, row.other}}}
		require.Equal(t, row.want, held(s, prepared), "%+v", row)
	}
}

func TestACommandThatIsAskedForIsNeverCut(t *testing.T) {
	s := recovering()
	command := "temporal workflow update execute -w recover/frende --name approve --input '{\"system\":\"frende\"}'"
	s.Waiting = "It waits: `" + command + "`."
	var b strings.Builder
	for _, line := range frame(s, nil, size{60, 24}, noon) {
		if !line.joined {
			b.WriteString("\n")
		}
		b.WriteString(line.text)
	}
	require.Contains(t, strings.ReplaceAll(b.String(), " \\\n   ", ""), "\n  "+command+"\n", "it goes on in another line as a shell takes it")
}

func TestAFrameFitsEveryScreen(t *testing.T) {
	s := recovering()
	s.Waiting = "It waits. To go on: `lifeboat approve recover/frende --yes-destroy frende`."
	for n := range 30 {
		s.Components = append(s.Components, api.ComponentView{ID: fmt.Sprintf("database/shard-with-a-long-name-%d", n)})
	}
	for width := range 130 {
		for height := range 40 {
			lines := frame(s, nil, size{width, height}, noon.Add(20*time.Second))
			require.LessOrEqual(t, len(lines), max(1, height))
			for _, line := range lines {
				require.LessOrEqual(t, utf8.RuneCountInString(line.text), max(2, width), "%d by %d: %q", width, height, line.text)
			}
		}
	}
}

func TestATerminalIsGivenBackWithWhatEndedOnIt(t *testing.T) {
	clock := &clockwork{at: noon.Add(20 * time.Second)}
	v, out := newViewer(80, clock)
	v.show(recovering())
	v.show(recovering())
	require.Equal(t, 1, strings.Count(out.String(), secondScreen))
	require.Equal(t, 2, strings.Count(out.String(), home), "it is drawn over itself")
	clock.at = clock.at.Add(time.Second)
	v.silent()
	require.Contains(t, out.String(), "no answer since 12:00:21 from the worker or from Temporal")
	require.NotContains(t, out.String(), "\x1b[1m", "no colours were wanted")
	out.Reset()
	v.leave()
	v.leave()
	require.Equal(t, firstScreen+"12:00:00  recover/frende: preparing\n12:00:02  done     2.0s  database/frende  check backup: timeline 1\n"+
		"12:00:12  done     2.0s  cache/sessions  load the restored sessions: 100 keys\n", strings.SplitAfterN(out.String(), "\n", 4)[0]+
		strings.Join(strings.SplitAfterN(out.String(), "\n", 4)[1:3], ""))

	painted := &bytes.Buffer{}
	colourful := terminal{out: painted, colour: true}
	colourful.draw([]styled{{text: "head", style: bold}, {text: "text"}, {text: "bad", style: alarm}})
	require.Equal(t, secondScreen+home+"\x1b[1mhead\x1b[0m"+restOfLine+"\r\ntext"+restOfLine+"\r\n\x1b[1;31mbad\x1b[0m"+restOfLine+restOfScreen, painted.String())
}

func TestADrillTellsTheStepsOfItsRecoveryOnce(t *testing.T) {
	drill := api.Progress{Steps: []api.Step{
		{ID: "observe", Workflow: "drill/frende", Title: "look", State: api.StepDone, Started: noon},
		{ID: "recover", Workflow: "recover/frende@sandbox", Title: "recover frende", State: api.StepRunning, Started: noon.Add(time.Second)},
		{ID: "clear", Workflow: "drill/frende", Title: "clear", State: api.StepRunning, Started: noon.Add(time.Minute)},
	}}
	require.True(t, carries(drill, "recover/frende@sandbox"))
	require.False(t, carries(restoring().Progress, "recover/frende/database/frende"), "a component's are told by its parent")
	s := seen{Progress: drill, own: drill, merged: map[string]bool{}}
	child := recovering().Progress
	s.merge("recover/frende@sandbox", child)
	s.merge("recover/frende@sandbox", child)
	require.Len(t, s.Steps, len(drill.Steps)+len(child.Steps))
	require.Len(t, s.Components, 3)
	require.Equal(t, "clear", s.Steps[len(s.Steps)-1].ID, "in the order in which they began")
	require.Equal(t, api.PhasePreparing, s.below)
	require.Equal(t, system.Duration(time.Hour), s.Clocks[0].Objective)

	out := &bytes.Buffer{}
	v := &viewer{out: out, json: true, screen: func() (int, int) { return 0, 0 }}
	v.show(s)
	var told api.Progress
	require.NoError(t, json.Unmarshal(out.Bytes(), &told))
	require.Len(t, told.Steps, len(drill.Steps), "JSON is the run's own progress")
}
