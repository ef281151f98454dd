package run_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
	"github.com/frende/lifeboat/workflows/run"
)

func TestActivityNamesTellTechnologiesApart(t *testing.T) {
	var p *postgres.Activities
	var f *files.Activities
	require.Equal(t, "postgres.Restore", run.ActivityName(p.Restore))
	require.Equal(t, "files.Restore", run.ActivityName(f.Restore))
}

func TestDetailsStayInsideWhatTheWebUIShows(t *testing.T) {
	started := time.Date(2024, 1, 15, 9, 41, 22, 0, time.UTC)
	p := api.Progress{
		System: "frende", Phase: api.PhasePreparing, Started: started, Since: started,
		Clocks: []api.Clock{{Name: "database/frende", Critical: true, Objective: system.Duration(15 * time.Minute), Since: started, Reached: 50}},
	}
	for range 500 {
		p.Steps = append(p.Steps, api.Step{Title: "restore | " + strings.Repeat("ä", 100), Outcome: strings.Repeat("x\n", 200), State: api.StepDone, Started: started})
	}
	p.Steps = append(p.Steps, api.Step{Title: "the newest step", State: api.StepRunning, Started: started})
	page := run.Details(p)
	require.LessOrEqual(t, len(page), 20000)
	require.Contains(t, page, "the newest step", "the newest steps are kept")
	require.Contains(t, page, "earlier steps are in the history")
	require.Contains(t, page, `restore \| `, "a title can't break the table")
	require.Contains(t, page, "| database/frende (critical) | 15m | over 50 % | … |")
}

func TestFailureKeepsTheNamedFaultThroughActivityAndChild(t *testing.T) {
	original := fault.New(fault.IntegrityError, "read chunk", "database-backups/x/chunk/1/000000", errors.New("tag differs"))
	err := temporalfault.ToTemporal(original)
	for range 2 { // an activity's failure becomes a workflow's, which becomes its parent's
		err = run.Failure(err)
	}
	application, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(t, ok)
	require.Equal(t, "IntegrityError", application.Type())
	require.True(t, application.NonRetryable())
	require.Contains(t, application.Message(), "HINT: ")
	require.Equal(t, "IntegrityError: "+original.Error(), run.Reason(err))
	back := temporalfault.FromTemporal(err)
	require.Equal(t, original.Error(), back.Error())
	require.Equal(t, original.Hint, fault.HintOf(back))
}

func TestRunsThatStartTogetherHaveDifferentNames(t *testing.T) {
	started := time.Date(2024, 1, 15, 9, 41, 22, 0, time.UTC)
	one := run.Run{Begun: started, Progress: api.Progress{RunID: "01a20929-1f1a-7873-9275-189ece35e8d2"}}
	two := run.Run{Begun: started, Progress: api.Progress{RunID: "01a20929-1f1b-7fd1-8a11-f0b63c203df8"}}
	require.NotEqual(t, one.Name(), two.Name())
	require.Equal(t, "20240115T094122Z-ce35e8d2", one.Name())
}

func TestRecordedStepTellsItsFaultByName(t *testing.T) {
	for outcome, want := range map[string]report.Failure{
		"IntegrityError: read chunk x: damaged": {Step: "s", Kind: "IntegrityError", Message: "read chunk x: damaged"},
		"dial tcp: connection refused":          {Step: "s", Message: "dial tcp: connection refused"},
		"it broke":                              {Step: "s", Message: "it broke"},
	} {
		made := run.Recorded(api.Step{ID: "s", State: api.StepFailed, Outcome: outcome}, "prepare")
		require.Equal(t, report.Failed, made.Outcome)
		require.Equal(t, want, *made.Failure)
		require.Empty(t, made.Detail)
	}
	state, why := run.Ended(temporal.NewCanceledError())
	require.Equal(t, api.StepAborted, state)
	made := run.Recorded(api.Step{ID: "s", State: state, Outcome: why}, "prepare")
	require.Equal(t, report.Aborted, made.Outcome, "what was called off did not fail")
	require.Nil(t, made.Failure)
	require.Empty(t, run.Recorded(api.Step{ID: "s", State: api.StepRunning}, "").Outcome)
}
