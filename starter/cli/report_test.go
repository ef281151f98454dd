package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

// file puts records of runs on the shop's ledger, a minute apart.
func (s shopStore) file(t *testing.T, runs ...report.Run) {
	t.Helper()
	now := noon
	records := s.records(t, func() time.Time { return now })
	for _, run := range runs {
		now = now.Add(time.Minute)
		_, err := records.Append(t.Context(), ledger.Record{Kind: kindRun, Subject: run.ID, Body: run})
		require.NoError(t, err)
	}
}

// records opens the shop's ledger for a worker with this clock.
func (s shopStore) records(t *testing.T, now func() time.Time) *ledger.Ledger {
	t.Helper()
	configured, err := system.Load(s.config, s.lookup)
	require.NoError(t, err)
	records, err := assembly.New(assembly.Config{Env: s.lookup, Now: now}).Ledger(t.Context(), *configured, "worker")
	require.NoError(t, err)
	return records
}

func ended(outcome report.Outcome, took time.Duration) report.Run {
	return report.Run{
		System: "shop", ID: "recover/shop", RunID: "7", Kind: "RecoverSystem", Target: "production", Outcome: outcome,
		Started: noon, Finished: noon.Add(took), Objective: system.Duration(time.Hour), Breached: took > time.Hour,
	}
}

func TestReportIsToldFromTheLedgerWithoutTemporal(t *testing.T) {
	s := openShop(t)
	s.file(t, ended(report.Failed, time.Minute), ended(report.Succeeded, 2*time.Minute))

	code, stdout, stderr := s.run(t, "report", "recover/shop", "--json")
	require.Zero(t, code, stderr)
	var run report.Run
	require.NoError(t, json.Unmarshal([]byte(stdout), &run))
	require.Equal(t, report.Succeeded, run.Outcome, "the newest run of this ID is told")

	code, text, stderr := s.run(t, "report", "recover/shop")
	require.Zero(t, code, stderr)
	require.Contains(t, text, "recover/shop")
	code, markdown, stderr := s.run(t, "report", "recover/shop", "--markdown")
	require.Zero(t, code, stderr)
	require.Contains(t, markdown, "#")
	require.NotEqual(t, text, markdown)
	code, html, stderr := s.run(t, "report", "recover/shop", "--html")
	require.Zero(t, code, stderr)
	require.Contains(t, html, "<h1>shop recovered in 2 min of 1 h</h1>")

	code, stdout, stderr = s.run(t, "report", "recover/nobody")
	require.Equal(t, fault.ExitNotFound, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "no such run")
	require.Contains(t, stderr, "HINT: see the last runs with: lifeboat report")
	code, _, stderr = s.run(t, "report", "clean-up/shop")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "HINT: a run of CleanUp files none; see what it did with: temporal workflow show -w clean-up/shop\n")
	code, _, stderr = s.run(t, "report", "schedule/shop/weekly-clean-2024-01-15T02:00:00Z")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "HINT: a run of CleanUp files none; see what it did with: temporal workflow show -w schedule/shop/weekly-clean-2024-01-15T02:00:00Z\n")
	code, _, stderr = s.run(t, "report", "schedule/shop/weekly-2024-01-15T02:00:00Z")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "HINT: see the last runs with: lifeboat report")
	for _, two := range [][]string{{"--json", "--markdown"}, {"--html", "--json"}, {"--open", "--html"}, {"--open", "--markdown"}} {
		code, stdout, stderr = s.run(t, append([]string{"report", "recover/shop"}, two...)...)
		require.Equal(t, fault.ExitUsage, code, two)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "HINT: see: lifeboat report --help")
	}
}

func TestLastRunsAreListedNewestFirst(t *testing.T) {
	s := openShop(t)
	code, stdout, stderr := s.run(t, "report")
	require.Zero(t, code, stderr)
	require.Equal(t, "no runs\n", stdout)
	code, stdout, stderr = s.run(t, "report", "--json")
	require.Zero(t, code, stderr)
	require.JSONEq(t, "[]", stdout)

	var runs []report.Run
	for i := range 25 {
		run := report.Run{ID: fmt.Sprintf("backup/shop/%02d", i), Kind: "BackupSystem", Outcome: report.Succeeded, Started: noon.Add(time.Duration(i) * time.Minute)}
		run.Finished = run.Started.Add(12 * time.Second)
		runs = append(runs, run)
	}
	again := []report.Run{ended(report.Failed, time.Minute), ended(report.Succeeded, 61*time.Minute), ended(report.Succeeded, time.Minute)}
	for i := range again {
		again[i].RunID = fmt.Sprintf("01a2094d-647f-7b08-95df-00000000000%d", i)
	}
	s.file(t, append(runs, again...)...)
	code, stdout, stderr = s.run(t, "report")
	require.Zero(t, code, stderr)
	header, rest, _ := strings.Cut(stdout, "\n")
	require.Regexp(t, `^started \(UTC\) +kind +outcome +took +objective +ID$`, header)
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	require.Len(t, lines, 20)
	require.Regexp(t, `^2024-01-15 12:24:00  BackupSystem  +succeeded  12.0s  +backup/shop/24$`, lines[0])
	require.Regexp(t, `^2024-01-15 12:00:00  RecoverSystem  succeeded  1m  +of 1h: met  +recover/shop$`, lines[17])
	require.Regexp(t, `^2024-01-15 12:00:00  RecoverSystem  succeeded  1h1m  +of 1h: MISSED  recover/shop@00000001$`, lines[18])
	require.Regexp(t, `^2024-01-15 12:00:00  RecoverSystem  failed  +1m  +recover/shop@00000000$`, lines[19])
	require.True(t, slices.IsSortedFunc(lines, func(x, y string) int { return strings.Compare(y[:19], x[:19]) }), "by when they began, which is what is shown")
	code, stdout, stderr = s.run(t, "report", "--json")
	require.Zero(t, code, stderr)
	var listed []listedRun
	require.NoError(t, json.Unmarshal([]byte(stdout), &listed))
	require.Len(t, listed, 20)
	require.True(t, listed[18].Breached)
	require.Equal(t, system.Duration(61*time.Minute), listed[18].RTA)

	code, stdout, stderr = s.run(t, "report", listed[18].Report)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "01a2094d-647f-7b08-95df-000000000001")
	code, _, stderr = s.run(t, "report", "recover/shop@00000007")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "recover/shop@00000007")

	for _, form := range []string{"--markdown", "--html", "--open"} {
		code, stdout, stderr = s.run(t, "report", form)
		require.Equal(t, fault.ExitUsage, code)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "no run is named")
	}
	s.env["KEY"] = "another passphrase altogether"
	code, stdout, stderr = s.run(t, "report")
	require.Equal(t, fault.ExitIntegrity, code)
	require.Empty(t, stdout, "that there are none is not known")
	require.NotContains(t, stderr, "altogether")
}

func TestReportIsOpenedFromAFileOfThisUserAlone(t *testing.T) {
	t.Setenv("BACKUP_ENCRYPTION_KEY", "the key itself")
	s := openShop(t)
	hostile := ended(report.Succeeded, time.Minute)
	hostile.ID = "recover/../../shop $(id)"
	s.file(t, ended(report.Succeeded, time.Minute), hostile)
	home := t.TempDir()
	seen := filepath.Join(home, "seen")
	browser := filepath.Join(home, "browser")
	require.NoError(t, os.WriteFile(browser, []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" >"+seen+"\nenv >>"+seen+"\n"), 0o700))
	s.env["HOME"] = home

	read := func(path string) string {
		path = strings.TrimSuffix(path, "\n")
		require.Equal(t, filepath.Join(home, ".cache", "lifeboat"), filepath.Dir(filepath.Dir(path)))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		info, err = os.Stat(filepath.Dir(path))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(page)
	}

	code, nobody, stderr := s.run(t, "report", "recover/shop", "--open")
	require.Zero(t, code, stderr)
	require.Contains(t, read(nobody), "<h1>shop recovered in 1 min of 1 h</h1>")
	require.Contains(t, stderr, "there is no browser here")
	require.Contains(t, stderr, "HINT: ")

	s.env["BROWSER"] = "/bin/false:" + browser + " --new-window %s"
	code, stdout, stderr := s.run(t, "report", "recover/shop", "--open")
	require.Zero(t, code, stderr)
	require.Empty(t, stderr)
	require.NotEqual(t, nobody, stdout, "each has a directory of its own")
	read(stdout)
	shown, err := os.ReadFile(seen)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(shown), "--new-window\nfile://"+stdout), "%s", shown)
	require.NotContains(t, string(shown), "the key itself", "a browser gets no secret")

	code, stdout, stderr = s.run(t, "report", hostile.ID, "--open")
	require.Zero(t, code, stderr)
	read(stdout)
	require.Contains(t, stdout, "recover-------shop---id-.html")

	s.env["BROWSER"] = "/nowhere/browser:/bin/false"
	code, stdout, stderr = s.run(t, "report", "recover/shop", "--open")
	require.Zero(t, code, stderr)
	read(stdout)
	require.Contains(t, stderr, "no browser showed it: run false: ")

	delete(s.env, "HOME")
	code, stdout, stderr = s.run(t, "report", "recover/shop", "--open")
	require.Equal(t, fault.ExitFailed, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "neither XDG_CACHE_HOME nor HOME names one")
}

func TestWhoOnlyReadsIsSentToTheReplica(t *testing.T) {
	away := fault.New(fault.StorageUnavailable, "list", "primary", nil)
	a := &app{Process: Process{Args: []string{"drill", "list"}}}
	require.Contains(t, a.hint(away), "it is tried again by itself", "a worker does")
	a.readable(&system.System{Stores: []system.Store{{Name: "primary"}}})
	require.Equal(t, "check the network, the endpoint and the service's status page, and ask again", a.hint(away))
	a.readable(&system.System{Stores: []system.Store{{Name: "primary", Replica: "dr"}, {Name: "dr"}}})
	require.Equal(t, "read the replica instead, which may lack the newest: lifeboat --from dr drill list", a.hint(away))
	require.Equal(t, "own", a.hint(away.WithHint("own")))
}
