package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/report"
)

func TestARecordThatTakesTooLongStopsNoRecovery(t *testing.T) {
	s := newStage(t)
	replace(s, "records.RecordPoints", func(context.Context, records.PointsInput) (records.PointsResult, error) {
		return records.PointsResult{}, temporal.NewHeartbeatTimeoutError()
	})
	_, err := s.recover(approved())
	require.NoError(t, err)
	require.Equal(t, 1, s.calls("postgres.CutOver"))
	require.Equal(t, 2, s.calls("records.RecordPoints"), "people wait for their services meanwhile")
	require.Contains(t, s.filedStep("record-recovery-point").Failure.Message, "StepTimeout")
}

// filedStep is a step as the filed report has it.
func (s *stage) filedStep(id string) report.Step {
	for _, step := range s.filed[0].Steps {
		if step.ID == id {
			return step
		}
	}
	require.Fail(s.t, "the report has no step "+id)
	return report.Step{}
}
