package temporal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/temporal"
)

func TestEveryLineOfAnActivitySaysWhoseItIs(t *testing.T) {
	const password = "tr0ub4dor&3"
	var written bytes.Buffer
	secrets := telemetry.NewSecrets()
	secrets.Add([]byte(password))
	logger, err := telemetry.NewLogger(telemetry.LogConfig{To: &written, Secrets: secrets})
	require.NoError(t, err)
	logger = logger.With(zap.String("system", "frende"))

	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(temporal.Logger(logger))
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{temporal.FaultInterceptor(logger)}})
	env.RegisterActivityWithOptions(func(ctx context.Context, fails bool) error {
		activity.GetLogger(ctx).Warn("the server is slow", "dsn", "postgres://backup:"+password+"@db/frende")
		if fails {
			return fault.New(fault.ServerUnavailable, "connect to", "db", errors.New("tried with "+password))
		}
		return nil
	}, activity.RegisterOptions{Name: "postgres.Restore"})
	_, err = env.ExecuteActivity("postgres.Restore", false)
	require.NoError(t, err)
	_, err = env.ExecuteActivity("postgres.Restore", true)
	require.Error(t, err)

	require.NotContains(t, written.String(), password)
	messages := map[string]int{}
	for text := range strings.Lines(written.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		for _, name := range []string{"workflow", "run", "activity", "attempt", "system"} {
			require.NotEmpty(t, line[name], "%s in %s", name, text)
		}
		require.Equal(t, "postgres.Restore", line["activity"])
		require.Equal(t, "frende", line["system"])
		require.Contains(t, line["caller"], ".go:")
		messages[line["msg"].(string)]++
	}
	require.Equal(t, map[string]int{"the server is slow": 2, "step done": 1, "step failed": 1, "Activity error.": 1}, messages)
}
