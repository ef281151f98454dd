package run

import (
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/workflows/api"
)

// Recorded is a step as the record of a run keeps it.
func Recorded(step api.Step, phase string) report.Step {
	made := report.Step{
		ID: step.ID, Phase: phase, Component: step.Component, Title: step.Title,
		Started: step.Started, Outcome: report.Succeeded, Detail: step.Outcome,
	}
	if step.Finished != nil {
		made.Finished = *step.Finished
	}
	switch step.State {
	case api.StepAborted:
		made.Outcome, made.Detail = report.Aborted, ""
	case api.StepFailed:
		made.Outcome, made.Detail = report.Failed, ""
		made.Failure = &report.Failure{Step: step.ID, Message: step.Outcome}
		kind, message, found := strings.Cut(step.Outcome, ": ") // as Reason writes it
		if found && fault.Kind(kind).Definition().Hint != "" {  // every registered kind has one
			made.Failure.Kind, made.Failure.Message = kind, message
		}
	case api.StepRunning:
		made.Outcome = ""
	}
	return made
}

// RecordedFailure is why a run failed, as its record keeps it.
func RecordedFailure(cause error) report.Failure {
	named := temporalfault.FromTemporal(cause)
	return report.Failure{Kind: string(fault.KindOf(named)), Message: Reason(cause), Hint: fault.HintOf(named)}
}
