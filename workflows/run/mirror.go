package run

import (
	"strings"
	"time"
	"unicode"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/frende/lifeboat/workflows/api"
)

// changeMirror guards what runs begun before this was built know nothing of.
const changeMirror = "mirror-progress"

// mirrored is what others can see of a run while no worker is up: its memo, and
// its search attributes where the namespace has them.
type mirrored struct {
	system, kind string
	phase        api.Phase
	rto          string
}

// Identify says which system and kind of component the run is about; kind is ""
// when the workflow's type says it. searchable says whether the namespace has
// Lifeboat's search attributes: a run that sets one it does not have stands
// still, so the answer comes out of the run's own history.
func (r *Run) Identify(ctx workflow.Context, kind string, searchable bool) {
	r.kind, r.searchable = kind, searchable
	r.mirror(ctx)
}

// Searchable says what Identify was told, for the run's children.
func (r *Run) Searchable() bool { return r.searchable }

// mirror copies phase and objective into memo and search attributes when they changed.
func (r *Run) mirror(ctx workflow.Context) {
	now := mirrored{system: r.Progress.System, kind: r.kind, phase: r.Progress.Phase, rto: rtoState(r.Progress.Clocks)}
	if now.kind == "" {
		now.kind = kindOf(r.Progress.Workflow)
	}
	if !r.mirrors || now == r.mirrored {
		return
	}
	r.mirrored = now
	memo := map[string]any{api.MemoSystem: now.system, api.MemoKind: now.kind, api.MemoPhase: now.phase}
	if now.rto != "" {
		memo[api.MemoRTO], memo[api.MemoPercent] = now.rto, percent(ctx, r.Progress.Clocks)
	}
	if err := workflow.UpsertMemo(ctx, memo); err != nil {
		workflow.GetLogger(ctx).Warn("the memo was not updated", "error", err)
	}
	if !r.searchable {
		return
	}
	updates := []temporal.SearchAttributeUpdate{
		temporal.NewSearchAttributeKeyKeyword(api.AttributeSystem).ValueSet(now.system),
		temporal.NewSearchAttributeKeyKeyword(api.AttributeKind).ValueSet(now.kind),
		temporal.NewSearchAttributeKeyKeyword(api.AttributePhase).ValueSet(string(now.phase)),
	}
	if now.rto != "" {
		updates = append(updates, temporal.NewSearchAttributeKeyKeyword(api.AttributeRTO).ValueSet(now.rto))
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, updates...); err != nil {
		workflow.GetLogger(ctx).Warn("the search attributes were not updated", "error", err)
	}
}

// rtoState is the worst that any clock of the run has reached; "" without a clock that has an objective.
func rtoState(clocks []api.Clock) string {
	state, worst := "", -1
	for _, clock := range clocks {
		if clock.Objective <= 0 || clock.Reached <= worst {
			continue
		}
		worst = clock.Reached
		switch {
		case worst >= 100:
			state = api.RTOBreached
		case worst >= 80:
			state = api.RTO80
		case worst >= 50:
			state = api.RTO50
		default:
			state = api.RTOOk
		}
	}
	return state
}

// percent is how much of the first objective, the whole's, has passed.
func percent(ctx workflow.Context, clocks []api.Clock) int {
	for _, clock := range clocks {
		if clock.Objective <= 0 {
			continue
		}
		until := workflow.Now(ctx)
		if clock.Stopped != nil {
			until = *clock.Stopped
		}
		return int(100 * until.Sub(clock.Since) / time.Duration(clock.Objective))
	}
	return 0
}

// kindOf is what a workflow's type says after its verb: "database" of BackupDatabase.
func kindOf(workflowType string) string {
	for i, letter := range workflowType {
		if i > 0 && unicode.IsUpper(letter) {
			return strings.ToLower(workflowType[i:])
		}
	}
	return strings.ToLower(workflowType)
}
