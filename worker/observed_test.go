package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
)

// TestAWorkerIsObserved follows a real system through its first backup and the
// loss of its store, as Prometheus and a collector of traces see it, and then as
// somebody does who reads Temporal's database.
func TestAWorkerIsObserved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	port, err := lab.FreePort()
	require.NoError(t, err)
	collector := lab.StartCollector(t)
	h.plan.More = fmt.Sprintf("telemetry: {metrics: '127.0.0.1:%d', traces: %s}\n", port, collector.URL)
	h.write(t, "lifeboat.yaml", h.plan)
	require.NoError(t, h.worker.Stop(t.Context()))
	require.NoError(t, h.worker.Start(t.Context()))
	h.lifeboat(t, "backup", "system").done(t)

	t.Run("the spans of a backup are one tree from the command to the store", func(t *testing.T) { h.oneTree(t, collector) })
	t.Run("metrics show how the system stands", func(t *testing.T) { h.stands(t, port) })
	h.keepsSecrets(t)
	t.Run("PostgreSQL's WAL went through it", func(t *testing.T) {
		log, err := os.ReadFile(h.worker.LogFile())
		require.NoError(t, err)
		require.Contains(t, string(log), "taking WAL from PostgreSQL")
		require.NotContains(t, string(log), "WAL was not pushed for PostgreSQL")
	})
	t.Run("with a payload key, histories say nothing of the system", h.sealed)
	t.Run("what can't be seen is not shown", func(t *testing.T) {
		require.NoError(t, h.s3.Stop(t.Context()))
		var text string
		await(t, "the loss of the store to show", func() bool {
			text = scrape(t, port)
			return strings.Contains(text, `lifeboat_store_up{store="primary",system="frende"} 0`)
		})
		require.NotContains(t, text, "lifeboat_backup_age_seconds{")
		require.NotContains(t, text, "lifeboat_rpo_seconds{")
	})
}

// oneTree wants every span of the backup to hang on the command that began it,
// and those of the store to be the leaves.
func (h *house) oneTree(t *testing.T, collector *lab.Collector) {
	t.Helper()
	// Spans are sent in batches: the root's workflow is the last to end.
	await(t, "the trace to be whole", func() bool {
		spans, _ := collector.Spans()
		for _, span := range spans {
			if span.GetName() == "RunWorkflow:BackupSystem" {
				return true
			}
		}
		return false
	})
	spans, services := collector.Spans()
	names, parents, service := map[string]string{}, map[string]string{}, map[string]string{}
	traceID := ""
	for i, span := range spans {
		if span.GetName() == "StartWorkflow:BackupSystem" {
			traceID = hex.EncodeToString(span.GetTraceId())
			require.Empty(t, span.GetParentSpanId())
			require.Equal(t, "lifeboat", services[i])
		}
	}
	require.NotEmpty(t, traceID)
	for i, span := range spans {
		if hex.EncodeToString(span.GetTraceId()) == traceID {
			id := hex.EncodeToString(span.GetSpanId())
			names[id], parents[id], service[id] = span.GetName(), hex.EncodeToString(span.GetParentSpanId()), services[i]
		}
	}
	paths := map[string]int{}
	for id := range names {
		var path []string
		for at := id; at != ""; at = parents[at] {
			require.NotEmpty(t, names[at], "the parent of %v is in the trace", path)
			path = append([]string{names[at]}, path...)
			require.Less(t, len(path), 20)
		}
		require.Equal(t, "StartWorkflow:BackupSystem", path[0])
		paths[strings.Join(path, " ")]++
	}
	const child = "StartWorkflow:BackupSystem RunWorkflow:BackupSystem StartChildWorkflow:BackupDatabase RunWorkflow:BackupDatabase "
	require.Positive(t, paths[child+"StartActivity:postgres.BaseBackup RunActivity:postgres.BaseBackup S3 PutObject"], "%v", paths)
	require.Positive(t, paths[child+"StartActivity:vault.Verify RunActivity:vault.Verify S3 GetObject"])
	require.Positive(t, paths[child+"StartActivity:records.RecordBackup RunActivity:records.RecordBackup S3 PutObject"])
	for name, secret := range h.secrets {
		require.NotContains(t, string(collector.Raw()), secret, "spans hold the secret %q", name)
	}
}

func (h *house) stands(t *testing.T, port int) {
	t.Helper()
	var text string
	await(t, "the backups to show", func() bool {
		text = scrape(t, port)
		return strings.Contains(text, `lifeboat_proof_level{component="database/frende",system="frende"} 1`)
	})
	for _, line := range []string{
		`lifeboat_store_up{store="primary",system="frende"} 1`,
		`lifeboat_rpo_seconds{component="database/frende",store="primary",system="frende"} `,
		`lifeboat_step_duration_seconds_count{ended="done",step="postgres.BaseBackup",system="frende"} 1`,
		`lifeboat_moved_bytes_total{direction="verify",kind="configuration",system="frende"} `,
		`lifeboat_moved_bytes_total{direction="backup",kind="cache",system="frende"} `,
		`temporal_activity_execution_latency_seconds_count{`,
	} {
		require.Contains(t, text, line)
	}
	for _, component := range []string{"database/frende", "cache/sessions", "files/uploads", "configuration/frende"} {
		require.Contains(t, text, fmt.Sprintf("lifeboat_backup_present{component=%q,system=\"frende\"} 1", component))
		require.Contains(t, text, fmt.Sprintf("lifeboat_backup_age_seconds{component=%q", component))
	}
	for name, secret := range h.secrets {
		require.NotContains(t, text, secret, "metrics hold the secret %q", name)
	}
}

// scrape reads the metrics as Prometheus does; "" while nobody serves them.
func scrape(t *testing.T, port int) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", port), nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, errors.Join(err, answer.Body.Close()))
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", text)
	return string(text)
}
