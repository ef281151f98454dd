package temporal

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Running says whether a run works: any run of that workflow ID, since one that was
// reset goes on under another run ID. A run that Temporal does not know works no more.
// runID is "workflow ID@run ID", or a workflow ID alone.
func Running(ctx context.Context, c client.Client, runID string) (bool, error) {
	id := runID
	if at := strings.LastIndex(runID, "@"); at > 0 {
		id = runID[:at]
	}
	found, err := c.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, Named("look at run", id, err)
	}
	return found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// shortRun is the length of the run ID's end in the name of a recovery.
const shortRun = 8

// RecoveryEnded says whether Temporal knows for certain that the recovery of this
// name, as it stands in the names of directories, has ended, and that no other
// one works on the component. why says what is known when it has not.
func RecoveryEnded(ctx context.Context, c client.Client, s system.System, component system.Component, name string) (ended bool, why string, err error) {
	child := api.ComponentRecoveryID(s.Name, "", string(component.Kind), component.Name)
	if running, err := Running(ctx, c, child); running || err != nil {
		return false, child + " works on it", err
	}
	return RunEnded(ctx, c, name)
}

// RunEnded says whether Temporal knows for certain that the recovery or verification of
// this name has ended.
func RunEnded(ctx context.Context, c client.Client, name string) (ended bool, why string, err error) {
	dash := strings.LastIndex(name, "-")
	if dash < 0 || len(name)-dash-1 != shortRun {
		return false, "its name is not that of a run", nil
	}
	id, err := recoveryNamed(ctx, c, name[dash+1:])
	switch {
	case err != nil:
		return false, "", err
	case id == "":
		return false, fmt.Sprintf("Temporal does not know run %s, or no longer: when it is certain that it has ended, remove it by hand", name), nil
	}
	if running, err := Running(ctx, c, id); running || err != nil {
		return false, id + " works", err
	}
	return true, "", nil
}

// readers are the types of the runs that read backups, and may go back to an old one.
func readers() []string {
	return []string{
		api.RecoverSystem, api.RecoverDatabase, api.RecoverCache, api.RecoverFiles, api.RecoverConfiguration,
		api.RestoreDatabase, api.RestoreCache, api.RestoreFiles, api.DrillSystem, api.VerifyBackup, api.ExtractDatabase, api.CopyDatabase,
	}
}

// Reading names a run of the namespace that may be reading backups; "" when there is
// none. The list of runs lags by a moment behind what runs; a recovery of production
// is known at once, by the child that holds its system.
func Reading(ctx context.Context, c client.Client, of string) (run string, err error) {
	hold := api.HoldID(of)
	if running, err := Running(ctx, c, hold); running || err != nil {
		return hold, err
	}
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Running' AND WorkflowType IN ('" + strings.Join(readers(), "','") + "')", PageSize: 1}
	page, err := c.ListWorkflow(ctx, request)
	if err != nil {
		return "", Named("list runs that read backups", of, err)
	}
	for _, found := range page.GetExecutions() {
		return found.GetExecution().GetWorkflowId(), nil
	}
	return "", nil
}

// recoveryNamed finds the recovery whose run ID ends so; "" when there is none.
// Whether it runs is not taken from the list, which lags behind what it lists.
func recoveryNamed(ctx context.Context, c client.Client, end string) (id string, err error) {
	kinds := []string{api.RecoverSystem, api.RecoverDatabase, api.RecoverCache, api.RecoverFiles, api.RecoverConfiguration, api.UndoRecovery, api.VerifyBackup, api.ExtractDatabase, api.CopyDatabase}
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType IN ('" + strings.Join(kinds, "','") + "')", PageSize: 500}
	for {
		page, err := c.ListWorkflow(ctx, request)
		if err != nil {
			return "", Named("list recoveries", "", err)
		}
		for _, found := range page.GetExecutions() {
			if strings.HasSuffix(found.GetExecution().GetRunId(), end) {
				return found.GetExecution().GetWorkflowId(), nil
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return "", nil
		}
	}
}
