package temporal

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
)

// FaultInterceptor returns the worker interceptor through which every activity
// runs: it tells Temporal that the attempt lives, logs its end and carries
// faults across, by type, with their hint.
func FaultInterceptor(logger *zap.Logger) interceptor.WorkerInterceptor {
	return &faultInterceptor{logger: logger}
}

type faultInterceptor struct {
	interceptor.WorkerInterceptorBase
	logger *zap.Logger
}

func (f *faultInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	wrapped := &faultInbound{logger: f.logger, pulse: &pulse{}}
	wrapped.Next = next
	return wrapped
}

type faultInbound struct {
	interceptor.ActivityInboundInterceptorBase
	logger *zap.Logger
	pulse  *pulse
}

// Init puts the pulse between the activity and Temporal.
func (f *faultInbound) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	f.pulse.Next = outbound
	return f.Next.Init(f.pulse)
}

func (f *faultInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	stop := f.pulse.keep(ctx)
	result, err := f.Next.ExecuteActivity(ctx, in)
	stop()
	info := activity.GetInfo(ctx)
	fields := []zap.Field{
		zap.String(fieldWorkflow, info.WorkflowExecution.ID),
		zap.String(fieldRun, info.WorkflowExecution.RunID),
		zap.String(fieldActivity, info.ActivityType.Name),
		zap.String(fieldStep, info.ActivityID),
		zap.Int32(fieldAttempt, info.Attempt),
	}
	if err != nil {
		f.logger.Warn("step failed", append(fields, zap.Error(err), zap.String("kind", string(fault.KindOf(err))), zap.String("hint", fault.HintOf(err)))...)
		return result, temporalfault.ToTemporal(err)
	}
	f.logger.Info("step done", fields...)
	return result, nil
}
