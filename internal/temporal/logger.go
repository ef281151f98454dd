package temporal

import (
	"fmt"

	"go.temporal.io/sdk/log"
	"go.uber.org/zap"
)

// Logger lets the SDK log through zap, under the names that Lifeboat's own lines have.
func Logger(logger *zap.Logger) log.Logger {
	return sdkLogger{logger.WithOptions(zap.AddCallerSkip(1))}
}

// Names of what a line belongs to.
const (
	fieldWorkflow = "workflow" // workflow ID
	fieldRun      = "run"      // run ID
	fieldActivity = "activity" // type: "postgres.Restore"
	fieldStep     = "step"     // activity ID: "database/frende/restore"
	fieldAttempt  = "attempt"
)

type sdkLogger struct{ zap *zap.Logger }

var (
	_ log.WithLogger      = sdkLogger{}
	_ log.WithSkipCallers = sdkLogger{}
)

func (l sdkLogger) Debug(message string, pairs ...any) { l.zap.Debug(message, fields(pairs)...) }
func (l sdkLogger) Info(message string, pairs ...any)  { l.zap.Info(message, fields(pairs)...) }
func (l sdkLogger) Warn(message string, pairs ...any)  { l.zap.Warn(message, fields(pairs)...) }
func (l sdkLogger) Error(message string, pairs ...any) { l.zap.Error(message, fields(pairs)...) }

func (l sdkLogger) With(pairs ...any) log.Logger { return sdkLogger{l.zap.With(fields(pairs)...)} }

func (l sdkLogger) WithCallerSkip(depth int) log.Logger {
	return sdkLogger{l.zap.WithOptions(zap.AddCallerSkip(depth))}
}

// fields are the SDK's pairs of names and values.
func fields(pairs []any) []zap.Field {
	made := make([]zap.Field, 0, len(pairs)/2+1)
	for i := 0; i < len(pairs); i += 2 {
		if i+1 == len(pairs) {
			return append(made, zap.Any("more", pairs[i]))
		}
		made = append(made, zap.Any(renamed(fmt.Sprint(pairs[i])), pairs[i+1]))
	}
	return made
}

func renamed(name string) string {
	switch name {
	case "WorkflowID":
		return fieldWorkflow
	case "RunID":
		return fieldRun
	case "ActivityType":
		return fieldActivity
	case "ActivityID":
		return fieldStep
	case "Attempt":
		return fieldAttempt
	case "WorkflowType":
		return "workflow_type"
	case "TaskQueue":
		return "queue"
	case "Namespace":
		return "namespace"
	case "WorkerID":
		return "worker"
	case "TraceID":
		return "trace"
	case "SpanID":
		return "span"
	case "Error":
		return "error"
	default:
		return name
	}
}
