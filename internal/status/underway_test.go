package status_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/frende/lifeboat/internal/status"
)

// under is a run as Temporal lists it.
func under(t *testing.T, id, kind, phase string, started time.Time) *workflow.WorkflowExecutionInfo {
	t.Helper()
	stored, err := converter.GetDefaultDataConverter().ToPayload(phase)
	require.NoError(t, err)
	return &workflow.WorkflowExecutionInfo{
		Execution: &common.WorkflowExecution{WorkflowId: id}, Type: &common.WorkflowType{Name: kind}, StartTime: timestamppb.New(started),
		Memo: &common.Memo{Fields: map[string]*common.Payload{"phase": stored}},
	}
}

func TestRunsUnderwaySayTheirPhase(t *testing.T) {
	began := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	child := under(t, "recover/frende/database/frende", "RestoreDatabase", "preparing", began)
	child.ParentExecution = &common.WorkflowExecution{WorkflowId: "recover/frende/database"}
	c := mocks.NewClient(t)
	c.On("ListWorkflow", mock.Anything, mock.MatchedBy(func(asked *workflowservice.ListWorkflowExecutionsRequest) bool {
		return asked.GetQuery() == "ExecutionStatus = 'Running' AND TaskQueue = 'lifeboat'"
	})).Return(&workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflow.WorkflowExecutionInfo{
		under(t, "backup/frende/cache", "BackupCache", "backing up", began.Add(time.Minute)),
		under(t, "recover/frende/database", "RecoverDatabase", "waiting for approval", began),
		under(t, "recover/other", "RecoverSystem", "preparing", began),
		under(t, "report/frende", "ReportStatus", "done", began),
		child,
	}}, nil)
	of := status.Underways{System: "frende", Queue: "lifeboat", Except: "ReportStatus", Phase: "phase", Value: func(stored *common.Payloads, into any) error {
		return converter.GetDefaultDataConverter().FromPayloads(stored, into)
	}}
	runs, err := status.Underway(t.Context(), c, of)
	require.NoError(t, err)
	want := []status.Run{
		{ID: "recover/frende/database", Kind: "RecoverDatabase", Started: began, Phase: "waiting for approval"},
		{ID: "backup/frende/cache", Kind: "BackupCache", Started: began.Add(time.Minute), Phase: "backing up"},
	}
	require.Equal(t, want, runs)

	of.Value = func(*common.Payloads, any) error { return errors.New("sealed") }
	runs, err = status.Underway(t.Context(), c, of)
	require.NoError(t, err)
	require.Len(t, runs, 2, "a phase that can't be read hides no run")
	require.Empty(t, runs[0].Phase)
}
