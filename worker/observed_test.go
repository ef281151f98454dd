package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/workflows/api"
)

// observedQueue is served by a worker that shows everything of itself.
const observedQueue = "observed"

// TestAWorkerShowsHowTheSystemStands follows a real system through its first
// backup and the loss of its store, as Prometheus sees it.
func TestAWorkerShowsHowTheSystemStands(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	port, err := lab.FreePort()
	require.NoError(t, err)
	watched := h.plan
	watched.More = fmt.Sprintf("telemetry: {metrics: '127.0.0.1:%d'}\n", port)
	h.write(t, "observed.yaml", watched)
	h.newWorker(t, "worker-observed", "observed.yaml", observedQueue)
	_, err = h.kindOf(t, h.start(t, "backup", api.BackupSystem, observedQueue))
	require.NoError(t, err)

	var text string
	await(t, "metrics", func() bool {
		text = scrape(t, port)
		return strings.Contains(text, "lifeboat_config_valid")
	})
	for _, line := range []string{
		`lifeboat_store_up{store="primary",system="frende"} 1`,
		`lifeboat_proof_level{component="database/frende",system="frende"} 1`,
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

	require.NoError(t, h.s3.Stop(t.Context()))
	await(t, "the loss of the store to show", func() bool {
		text = scrape(t, port)
		return strings.Contains(text, `lifeboat_store_up{store="primary",system="frende"} 0`)
	})
	require.NotContains(t, text, "lifeboat_backup_age_seconds{")
	require.NotContains(t, text, "lifeboat_rpo_seconds{")
	for name, secret := range h.secrets {
		require.NotContains(t, text, secret, "metrics hold the secret %q", name)
	}
}

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
