package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestReportsReadAsRecorded(t *testing.T) {
	now := at(20)
	for name, run := range map[string]*report.Run{
		"recovered": recovered(), "breached": breached(), "failed": failed(), "aborted": aborted(), "running": running(), "backup": backedUp(), "drill": rehearsed(),
	} {
		for form, render := range map[string]func(*bytes.Buffer) error{
			"md":   func(b *bytes.Buffer) error { return report.Markdown(b, run, now) },
			"txt":  func(b *bytes.Buffer) error { return report.Text(b, run, now) },
			"html": func(b *bytes.Buffer) error { return report.HTML(b, run, now) },
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
		require.NotContains(t, b.String(), "achieved (RTA)  4")
		require.NotRegexp(t, `\bmet\b|Lost at most`, b.String())
	}
}

func TestAnAbortedRecoveryAchievedNothing(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.Text(&b, aborted(), at(100)))
	require.Regexp(t, `whole +– +1 h +not recovered\n`, b.String())
	require.Regexp(t, `database/frende .* 1 h +not recovered\n`, b.String())
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
	r.Clocks[0].Took = system.Duration(30 * time.Second)
	require.Equal(t, report.ClockWhole, r.Clocks[0].Name)
	require.Equal(t, 30*time.Second, r.RTA(at(100)), "what a drill clears up after the recovery does not count")
	r.Clocks[0].Open = true
	require.Equal(t, 41200*time.Millisecond, r.RTA(at(100)))
	r.Clocks = nil
	require.Equal(t, 41200*time.Millisecond, r.RTA(at(100)))
	r.Disaster = time.Time{}
	require.Equal(t, 38*time.Second, r.RTA(at(100)))
	r.Finished = time.Time{}
	require.Equal(t, 96800*time.Millisecond, r.RTA(at(100)))
	require.Zero(t, r.RTA(at(0)), "a clock that goes back gives no negative time")
}

func TestADrillLostNothingAndCountsFromItsStart(t *testing.T) {
	r := rehearsed()
	r.Disaster = at(3) // as records of the first version have it
	var b bytes.Buffer
	require.NoError(t, report.Text(&b, r, at(100)))
	require.Contains(t, b.String(), "A disaster then would have cost at most: database 22 s")
	require.NotContains(t, b.String(), "Lost at most")
	require.NotRegexp(t, `(?m)^  disaster `, b.String())
	require.Contains(t, b.String(), "Times count from the start of the run.")
	require.Regexp(t, `bring what is new to dr +\+1\.5 s`, b.String())
	require.Contains(t, b.String(), "in 38.2 s of 1 h", "its time is that of its recovery")
}

func TestKeysAndSentencesStandBeneathTheirRows(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.Text(&b, rehearsed(), at(100)))
	require.Contains(t, b.String(), "\n      database-backups/2024/01/15/frende_db_backup_20240115_013000.base\n")
	_, checks, found := strings.Cut(b.String(), "\nChecks\n")
	require.True(t, found)
	for line := range strings.Lines(checks) {
		require.LessOrEqual(t, len(line), 100, line)
	}
	html := page(t, rehearsed())
	require.Contains(t, html, "database-backups/<wbr>2024/<wbr>01/<wbr>15/<wbr>frende_<wbr>db_<wbr>backup_<wbr>20240115_<wbr>013000.base</td>", "a key is broken between its parts")
}

// full is a disk with no space left.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAReportThatCanNotBeWrittenIsAnError(t *testing.T) {
	for _, err := range []error{report.Text(full{}, recovered(), at(0)), report.Markdown(full{}, recovered(), at(0)), report.JSON(full{}, recovered()), report.HTML(full{}, recovered(), at(0))} {
		require.True(t, fault.Has(err, fault.PathFailed), "%v", err)
	}
}
