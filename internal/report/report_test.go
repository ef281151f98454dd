package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(second float64) time.Time {
	return time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC).Add(time.Duration(second * float64(time.Second)))
}

func duration(d time.Duration) system.Duration { return system.Duration(d) }

func recovered() *report.Run {
	return &report.Run{
		System: "frende", ID: "recover/frende", RunID: "0190-af", Kind: "RecoverSystem", Target: "production", By: "dba@frende.com",
		Phase: "recovered", Outcome: report.Succeeded,
		Disaster: at(0), Started: at(3.2), Finished: at(41.2), Objective: duration(time.Hour), Critical: duration(37 * time.Second),
		Clocks: []report.Clock{
			{Name: "system", Objective: duration(time.Hour), Took: duration(41200 * time.Millisecond)},
			{Name: "database/frende", Objective: duration(30 * time.Second), Took: duration(33 * time.Second), Breached: true},
		},
		Steps: []report.Step{
			{
				ID: "restore/frende", Component: "database/frende", Title: "restore frende from 2024-01-15 02:00 (1.9 GB)", Phase: "prepare", Outcome: report.Succeeded,
				Started: at(4), Finished: at(24.5), Attempts: 2, Bytes: 1_900_000_000, Total: 1_900_000_000, Rate: 92_682_926, Resumed: 640_000_000,
				Fallbacks: []report.Fallback{{Object: "database-backups/x.base/chunk/1/000003", Reason: "IntegrityError", From: "primary", To: "replica"}},
			},
			{ID: "health", Title: "health checks", Phase: "after", Outcome: report.Succeeded, Started: at(39), Finished: at(41), Attempts: 1, Detail: "2 checks passed"},
		},
		Points: []report.Point{
			{Component: "database/frende", Kind: "database", Backup: "database-backups/2024/01/15/frende_db_backup_20240115_013000.base", Timeline: 1, LSN: "0/3000148", Time: at(-22), RPA: duration(22 * time.Second), Objective: duration(time.Hour), Proof: "L1"},
			{Component: "files/uploads", Kind: "files", Backup: "file-backups/2024/01/15/uploads_file_backup_20240115_013000.tree", Time: at(-1800), Until: at(-1790), RPA: duration(30 * time.Minute), Objective: duration(24 * time.Hour)},
		},
		Approvals: []report.Approval{{Decision: "approve", Step: "cut-over", By: "dba@frende.com", At: at(25)}},
		Checks:    []report.Check{{Name: "backend", OK: true, Latency: duration(12 * time.Millisecond), Message: "status 200"}},
	}
}

func failed() *report.Run {
	r := recovered()
	r.Outcome, r.Phase, r.Points, r.Checks, r.Approvals, r.Clocks = report.Failed, "failed", nil, nil, nil, nil
	r.Finished, r.Critical = at(12), 0
	r.Steps = []report.Step{
		{
			ID: "restore/frende", Component: "database/frende", Title: "restore frende", Outcome: report.Failed, Started: at(4), Finished: at(11), Bytes: 1000, Total: 4000, Attempts: 1,
			Failure: &report.Failure{Kind: "IntegrityError", Message: "open chunk x: stored data is damaged or not authentic"},
		},
		{ID: "cut over/frende", Component: "database/frende", Title: "cut frende over"},
	}
	r.Failures = []report.Failure{{Kind: "IntegrityError", Message: "restore frende: open chunk x: stored data is damaged or not authentic", Hint: "choose an older backup"}}
	return r
}

func running() *report.Run {
	r := failed()
	r.Outcome, r.Phase, r.Finished, r.Failures = "", "preparing", time.Time{}, nil
	r.Steps[0].Outcome, r.Steps[0].Failure, r.Steps[0].Finished = "", nil, time.Time{}
	return r
}

func TestReportsReadAsRecorded(t *testing.T) {
	now := at(20)
	for name, run := range map[string]*report.Run{"recovered": recovered(), "failed": failed(), "running": running()} {
		for form, render := range map[string]func(*bytes.Buffer) error{
			"md":   func(b *bytes.Buffer) error { return report.Markdown(b, run, now) },
			"txt":  func(b *bytes.Buffer) error { return report.Text(b, run, now) },
			"json": func(b *bytes.Buffer) error { return report.JSON(b, run) },
		} {
			var b bytes.Buffer
			require.NoError(t, render(&b))
			golden := filepath.Join("testdata", name+"."+form)
			if *update {
				require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String(), golden)
		}
	}
}

func TestJSONReportReadsBackAsTheSameRun(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.JSON(&b, recovered()))
	var back report.Run
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, *recovered(), back)
}

func TestOnlyARecoveredSystemHasAchievedItsObjective(t *testing.T) {
	for _, run := range []*report.Run{failed(), running()} {
		var b bytes.Buffer
		require.NoError(t, report.Text(&b, run, at(20)))
		require.NotContains(t, b.String(), "RTA")
		require.NotContains(t, b.String(), "met")
	}
}

func TestAnAbortedRecoveryAchievedNothing(t *testing.T) {
	run := recovered()
	run.Outcome, run.Phase = report.Aborted, "aborted"
	run.Failures = []report.Failure{{Kind: string(fault.Aborted), Message: "Aborted: recover frende: aborted by an operator"}}
	for i := range run.Clocks {
		run.Clocks[i].Open = true
	}
	var b bytes.Buffer
	require.NoError(t, report.Text(&b, run, at(50)))
	require.Regexp(t, `system +1h0m0s +– +not recovered\n`, b.String())
	require.Regexp(t, `database/frende .* not recovered +0/3000148`, b.String())
	require.NotContains(t, b.String(), "Aborted: Aborted")
}

func TestAnEmptyRunCanBeTold(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.Markdown(&b, &report.Run{}, at(0)))
	require.NoError(t, report.Text(&b, &report.Run{}, at(0)))
	require.NotContains(t, b.String(), "0001-01-01")
}

func TestWhatARunHoldsCanNotBreakItsReport(t *testing.T) {
	r := failed()
	r.Failures[0].Message = "a | b\n# c <script> \x1b[2J `x` *y*"
	var md, text bytes.Buffer
	require.NoError(t, report.Markdown(&md, r, at(20)))
	require.Contains(t, md.String(), "a \\| b # c &lt;script&gt;")
	require.NoError(t, report.Text(&text, r, at(20)))
	require.NotContains(t, text.String(), "\x1b")
	require.NotContains(t, text.String(), "\n# c")
}

func TestRTACountsFromTheDisaster(t *testing.T) {
	r := recovered()
	require.Equal(t, 41200*time.Millisecond, r.RTA(at(100)))
	r.Disaster = time.Time{}
	require.Equal(t, 38*time.Second, r.RTA(at(100)))
	r.Finished = time.Time{}
	require.Equal(t, 96800*time.Millisecond, r.RTA(at(100)))
	require.Zero(t, r.RTA(at(0)), "a clock that goes back gives no negative time")
}

// full is a disk with no space left.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAReportThatCanNotBeWrittenIsAnError(t *testing.T) {
	for _, err := range []error{report.Text(full{}, recovered(), at(0)), report.Markdown(full{}, recovered(), at(0)), report.JSON(full{}, recovered())} {
		require.True(t, fault.Has(err, fault.PathFailed), "%v", err)
	}
}
