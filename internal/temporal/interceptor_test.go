package temporal_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/temporal"
)

const heartbeatTimeout = 3 * time.Second

// ask runs one step, and tells how it ended.
func ask(ctx workflow.Context, step string, input any, startToClose time.Duration) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID: "database/frende/" + step, StartToCloseTimeout: startToClose, HeartbeatTimeout: heartbeatTimeout,
		RetryPolicy: &sdk.RetryPolicy{MaximumAttempts: 1},
	})
	return workflow.ExecuteActivity(ctx, step, input).Get(ctx, nil)
}

func serve(t *testing.T) client.Client {
	t.Helper()
	server := lab.StartTemporal(t)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", server.Namespace)
	c, err := temporal.Dial(t.Context(), temporal.Options{Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	w := worker.New(c.Client, "test", worker.Options{
		DisableRegistrationAliasing: true,
		Interceptors:                []interceptor.WorkerInterceptor{temporal.FaultInterceptor(zap.NewNop())},
	})
	w.RegisterWorkflowWithOptions(ask, workflow.RegisterOptions{Name: "ask"})
	w.RegisterActivityWithOptions(fetch, activity.RegisterOptions{Name: "fetch"})
	w.RegisterActivityWithOptions(hang, activity.RegisterOptions{Name: "hang"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return c.Client
}

// fetch asks a server, with more patience than the heartbeat timeout.
func fetch(ctx context.Context, url string) error {
	limited, cancel := context.WithTimeout(ctx, heartbeatTimeout+2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err == nil {
		return answer.Body.Close()
	}
	return fault.New(fault.StorageUnavailable, "get object", url, errors.New("no answer"))
}

// hang takes what it is given and never ends by itself.
func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAStepThatWaitsForADeadServerEndsWithItsOwnFault(t *testing.T) {
	c := serve(t)
	hole, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer hole.Close()
	ended := func(step string, startToClose time.Duration) error {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "test"}, "ask", step, "http://"+hole.Addr().String(), startToClose)
		require.NoError(t, err)
		return temporalfault.FromTemporal(run.Get(t.Context(), nil))
	}
	err = ended("fetch", time.Minute)
	require.True(t, fault.Has(err, fault.StorageUnavailable), "it lived past its heartbeat timeout: %v", err)

	err = ended("hang", time.Second)
	require.True(t, fault.Has(err, fault.StepTimeout), "%v", err)
	require.ErrorContains(t, err, "wait for database/frende/hang: step did not end in its time")
	require.Contains(t, fault.HintOf(err), "worker")
}
