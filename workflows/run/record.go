package run

import (
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/workflows/api"
)

// Recorded is a step as the record of a run keeps it. phase is the plan's, or "".
func Recorded(step api.Step, phase string) report.Step {
	made := report.Step{ID: step.ID, Phase: phase, Component: step.Component, Title: step.Title, Started: step.Started, Outcome: report.Succeeded, Detail: step.Outcome}
	if step.Finished != nil {
		made.Finished = *step.Finished
	}
	switch step.State {
	case api.StepFailed:
		made.Outcome = report.Failed
		made.Failure = &report.Failure{Step: step.ID, Message: step.Outcome}
	case api.StepRunning:
		made.Outcome = ""
	}
	return made
}
