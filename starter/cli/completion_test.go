package cli

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

func TestRunsAreCompletedThoseOfTheSystemAlone(t *testing.T) {
	server := lab.StartTemporal(t)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	c, err := temporal.Dial(t.Context(), temporal.Options{Logger: zap.NewNop()})
	require.NoError(t, err)
	defer c.Close()
	for _, id := range []string{"recover/frende", "backup/frende/files/uploads/20240115-020000", "recover/frendelier", "recover/other"} {
		_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "nobody"}, api.RecoverSystem)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { // visibility follows
		out := command(t, "__complete", "watch", "").wait(t).stdout.String()
		return strings.Contains(out, "recover/frende\n") && strings.Contains(out, "backup/frende/files/uploads/20240115-020000\n") && !strings.Contains(out, "other") && !strings.Contains(out, "frendelier")
	}, time.Minute, 100*time.Millisecond)
	out := command(t, "__complete", "approve", "rec").wait(t).stdout.String()
	require.Contains(t, out, "recover/frende\n")
	require.NotContains(t, out, "backup/")
	require.NotContains(t, command(t, "__complete", "watch", "recover/frende", "").wait(t).stdout.String(), "recover/", "there is one ID")
}

func TestTemporalThatDoesNotAnswerHoldsUpNobodyWhoPressesTab(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections into its queue and never answers
	require.NoError(t, err)
	defer silent.Close()
	t.Setenv("TEMPORAL_ADDRESS", silent.Addr().String())
	started := time.Now()
	o := command(t, "__complete", "watch", "").wait(t)
	require.Less(t, time.Since(started), 4*completionPatience)
	require.Equal(t, ":4\n", o.stdout.String())
	require.Zero(t, o.code)
}
