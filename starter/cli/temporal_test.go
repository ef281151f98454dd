package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// recovery stands for RecoverSystem: it waits for a person and then ends.
func recovery(ctx workflow.Context, in api.Input[api.RecoverInput]) (api.RecoverResult, error) {
	input, err := in.Checked(api.RecoverSystem)
	if err != nil {
		return api.RecoverResult{}, temporalfault.ToTemporal(err)
	}
	info, now := workflow.GetInfo(ctx), workflow.Now(ctx)
	progress := api.Progress{System: input.System, ID: info.WorkflowExecution.ID, Phase: api.PhaseWaiting, Started: now, Since: now, Waiting: "approve it", Steps: []api.Step{}}
	if err := workflow.SetQueryHandler(ctx, api.QueryProgress, func() (api.Progress, error) { return progress, nil }); err != nil {
		return api.RecoverResult{}, err
	}
	approved, aborted := input.YesDestroy != "", false
	if err := workflow.SetUpdateHandlerWithOptions(ctx, api.UpdateApprove, func(workflow.Context, api.Approval) (api.Answer, error) {
		approved = true
		return api.Answer{Accepted: "it goes on"}, nil
	}, workflow.UpdateHandlerOptions{Validator: func(given api.Approval) error {
		if given.System != input.System {
			return temporalfault.ToTemporal(fault.Newf(fault.InputInvalid, "approve", given.System, "this is the recovery of %q", input.System))
		}
		return nil
	}}); err != nil {
		return api.RecoverResult{}, err
	}
	if err := workflow.SetUpdateHandler(ctx, api.UpdateAbort, func(_ workflow.Context, given api.Abort) (api.Answer, error) {
		aborted = true
		return api.Answer{Accepted: "aborted: " + given.Reason}, nil
	}); err != nil {
		return api.RecoverResult{}, err
	}
	if err := workflow.Await(ctx, func() bool { return approved || aborted }); err != nil {
		return api.RecoverResult{}, err
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return api.RecoverResult{}, err
	}
	ended := workflow.Now(ctx)
	progress.Finished, progress.Phase, progress.Waiting = &ended, api.PhaseRecovered, ""
	if aborted {
		return api.RecoverResult{}, temporalfault.ToTemporal(fault.New(fault.Aborted, "recover", input.System, nil))
	}
	return api.RecoverResult{System: input.System, Met: true, Objective: system.Duration(time.Hour), RTA: system.Duration(time.Second)}, nil
}

// uploads stands for BackupFiles.
func uploads(_ workflow.Context, in api.Input[api.BackupInput]) (api.BackupResult, error) {
	input, err := in.Checked(api.BackupFiles)
	if err != nil {
		return api.BackupResult{}, temporalfault.ToTemporal(err)
	}
	return api.BackupResult{System: input.System, Started: noon, Finished: noon.Add(2 * time.Second), Backups: []api.BackupMade{
		{Component: "files/" + input.Component, Key: "file-backups/k", Bytes: 2 << 20, Stored: 1 << 20, Proof: "L1"},
	}}, nil
}

// buffer can be read while a command writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }

func (b *buffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

type outcome struct {
	code           int
	stdout, stderr *buffer
	done           chan struct{}
}

// command runs a command line in the background.
func command(t *testing.T, args ...string) *outcome {
	t.Helper()
	example, err := filepath.Abs("../../examples/frende/lifeboat.yaml")
	require.NoError(t, err)
	env := map[string]string{"LIFEBOAT_CONFIG": example, "BACKUP_ENCRYPTION_KEY": "k", "FRENDE_DATABASE_URL": "d"}
	o := &outcome{stdout: &buffer{}, stderr: &buffer{}, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.code = Run(t.Context(), Process{
			Args: args, Stdout: o.stdout, Stderr: o.stderr, Now: time.Now, Screen: func() (width, height int) { return 0, 0 },
			Env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
		})
	}()
	return o
}

func (o *outcome) wait(t *testing.T) *outcome {
	t.Helper()
	select {
	case <-o.done:
	case <-time.After(time.Minute):
		t.Fatalf("the command does not end; stdout %q, stderr %q", o.stdout, o.stderr)
	}
	return o
}

func serve(t *testing.T) client.Client {
	t.Helper()
	server := lab.StartTemporal(t)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", server.Namespace)
	c, err := temporal.Dial(t.Context(), temporal.Options{Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c.Client
}

func TestOperatorsOfARecovery(t *testing.T) {
	c := serve(t)

	// Nobody works yet: the command says so and waits.
	first := command(t, "recover", "system")
	require.Eventually(t, func() bool { return strings.Contains(first.stderr.String(), "no worker listens") }, time.Minute, 50*time.Millisecond)

	w := worker.New(c, api.Queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(recovery, workflow.RegisterOptions{Name: api.RecoverSystem})
	w.RegisterWorkflowWithOptions(uploads, workflow.RegisterOptions{Name: api.BackupFiles})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	require.Eventually(t, func() bool { return strings.Contains(first.stdout.String(), "approve it") }, time.Minute, 50*time.Millisecond)

	// A second recovery while one runs is refused by name.
	second := command(t, "recover", "system").wait(t)
	require.Equal(t, fault.ExitRefused, second.code)
	require.Contains(t, second.stderr.String(), "lifeboat: start recover/frende: a recovery is already running")
	require.Contains(t, second.stderr.String(), "HINT: ")

	// The wrong system's name approves nothing; the right one does.
	wrong := command(t, "approve", "recover/frende", "--yes-destroy", "shop").wait(t)
	require.Equal(t, fault.ExitUsage, wrong.code, wrong.stderr.String())
	require.Equal(t, "lifeboat: approve recover/frende: input is not valid: --yes-destroy names another system, \"shop\"\n"+
		"HINT: give the name of the system that may be replaced: --yes-destroy frende\n", wrong.stderr.String())
	right := command(t, "approve", "recover/frende", "--yes-destroy", "frende").wait(t)
	require.Equal(t, 0, right.code, right.stderr.String())
	require.Equal(t, "it goes on\n", right.stdout.String())
	first.wait(t)
	require.Equal(t, 0, first.code, first.stderr.String())
	require.Contains(t, first.stdout.String(), "RECOVERED frende in 1.0s (objective 1h)\n")

	// Started elsewhere, watched here, aborted there: the exit code is the run's.
	started := command(t, "recover", "system", "--detach", "--json").wait(t)
	require.Equal(t, 0, started.code, started.stderr.String())
	var id struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(started.stdout.String()), &id))
	require.Equal(t, "recover/frende", id.ID)
	watching := command(t, "watch", id.ID)
	require.Eventually(t, func() bool { return strings.Contains(watching.stdout.String(), "waiting for approval") }, time.Minute, 50*time.Millisecond)
	aborted := command(t, "abort", id.ID, "--reason", "drill over").wait(t)
	require.Equal(t, "aborted: drill over\n", aborted.stdout.String())
	watching.wait(t)
	require.Equal(t, fault.ExitFailed, watching.code)
	require.Contains(t, watching.stderr.String(), "lifeboat: recover frende: aborted by an operator\nHINT: the old system was left as it was\n")

	// --yes-destroy approves at once, and --json gives the result alone.
	result := command(t, "recover", "system", "--yes-destroy", "frende", "--json").wait(t)
	require.Equal(t, 0, result.code, result.stderr.String())
	var decoded api.RecoverResult
	require.NoError(t, json.Unmarshal([]byte(result.stdout.String()), &decoded))
	require.True(t, decoded.Met)

	// A backup tells what it made.
	made := command(t, "backup", "files", "uploads").wait(t)
	require.Equal(t, 0, made.code, made.stderr.String())
	require.Contains(t, made.stdout.String(), "files/uploads  1.0 MiB of 2.0 MiB  proven L1  file-backups/k\nBACKED UP frende in 2.0s: 1 backup\n")

	// A run that does not exist.
	for _, args := range [][]string{{"watch", "recover/nobody"}, {"abort", "recover/nobody"}} {
		unknown := command(t, args...).wait(t)
		require.Equal(t, fault.ExitNotFound, unknown.code, unknown.stderr.String())
		require.Contains(t, unknown.stderr.String(), "recover/nobody: no such run")
	}

	// A run that has ended.
	ended := command(t, "abort", "recover/frende").wait(t)
	require.Equal(t, fault.ExitNotFound, ended.code, ended.stderr.String())
	require.Contains(t, ended.stderr.String(), "abort recover/frende: no such run: the last one has ended\nHINT: see how it ended with: lifeboat report recover/frende\n")
}

func TestWhatNoWorkerAnsweredStaysAskedFor(t *testing.T) {
	err := named("abort", "recover/frende", client.NewWorkflowUpdateServiceTimeoutOrCanceledError(context.DeadlineExceeded))
	require.EqualError(t, err, "abort recover/frende: asked for, and no worker has taken it up yet: waited for 30s")
	require.Equal(t, fault.ExitUnavailable, fault.ExitCode(err))
	require.Contains(t, fault.HintOf(err), "it takes effect then")
}
