package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

func TestReportIsToldFromTheLedgerWithoutTemporal(t *testing.T) {
	s := openShop(t)
	configured, err := system.Load(s.config, s.lookup)
	require.NoError(t, err)
	records, err := assembly.New(assembly.Config{Env: s.lookup}).Ledger(t.Context(), *configured, "worker")
	require.NoError(t, err)
	for i, outcome := range []report.Outcome{report.Failed, report.Succeeded} {
		_, err = records.Append(t.Context(), ledger.Record{Kind: kindRun, Subject: "recover/shop", Body: report.Run{
			System: "shop", ID: "recover/shop", Kind: "RecoverSystem", Target: "production", Outcome: outcome,
			Started: noon, Finished: noon.Add(time.Duration(i+1) * time.Minute), Objective: system.Duration(time.Hour),
		}})
		require.NoError(t, err)
	}

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

	code, stdout, stderr = s.run(t, "report", "recover/nobody")
	require.Equal(t, fault.ExitNotFound, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "no such run")
	code, _, stderr = s.run(t, "report", "recover/shop", "--json", "--markdown")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "HINT: see: lifeboat report --help")
}
