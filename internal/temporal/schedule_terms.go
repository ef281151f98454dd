package temporal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/frende/lifeboat/internal/fault"
)

// terms are all that decides what a schedule does, each under a name. Two schedules
// with equal terms do the same. They are kept in memos: how a term is written must never
// change, or schedules that an earlier release applied would look edited by hand.
type terms map[string]string

// Terms that are written as times and told in words.
const (
	termStarts = "starts"
	termExcept = "except"
)

// applied is what the memo of an action keeps: the terms that Lifeboat gave the
// schedule. Whatever it does otherwise was changed by hand.
type applied struct {
	Hash  string `json:"hash"`
	Terms terms  `json:"terms"`
}

// hash is the same for the same terms.
func (t terms) hash() string {
	text, _ := json.Marshal(t) // a map of strings always can be; its keys are sorted
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// differences says, in a fixed order, what is otherwise in now.
func (t terms) differences(now terms) []string {
	names := maps.Clone(t)
	maps.Copy(names, now)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if t[name] != now[name] {
			all = append(all, fmt.Sprintf("%s: %s instead of %s", name, told(name, now[name]), told(name, t[name])))
		}
	}
	return all
}

// told is a term in words that a person understands.
func told(name, term string) string {
	if term == "" {
		return "none"
	}
	var t times
	if (name == termStarts || name == termExcept) && json.Unmarshal([]byte(term), &t) == nil {
		return t.String()
	}
	return term
}

// termsOf reads them from a schedule, be it configured or as Temporal describes it;
// p opens what is described.
func (p *Payloads) termsOf(s client.Schedule) (terms, error) {
	t := terms{}
	set := func(name, value string) {
		if value != "" {
			t[name] = value
		}
	}
	starts, err := timesOf(s.Spec.Calendars, s.Spec.Intervals).term()
	if err != nil {
		return nil, err
	}
	set(termStarts, starts)
	set("not before", moment(s.Spec.StartAt))
	set("not after", moment(s.Spec.EndAt))
	set("jitter", span(s.Spec.Jitter))
	if len(s.Spec.Skip) > 0 {
		except, err := timesOf(s.Spec.Skip, nil).term()
		if err != nil {
			return nil, err
		}
		set(termExcept, except)
	}
	if zone := s.Spec.TimeZoneName; zone != "UTC" {
		set("time zone", zone)
	}
	set("overlap", strings.ToLower(s.Policy.Overlap.String()))
	set("catch-up", span(s.Policy.CatchupWindow))
	if s.Policy.PauseOnFailure {
		set("pause on failure", "yes")
	}
	if s.State.LimitedActions {
		set("ends after", fmt.Sprintf("%d more runs", s.State.RemainingActions))
	}
	action, ok := s.Action.(*client.ScheduleWorkflowAction)
	if !ok {
		return nil, fault.Newf(fault.Unsupported, "read schedule", "", "its action starts no workflow")
	}
	workflow, _ := action.Workflow.(string) // the SDK describes it by name
	set("workflow", workflow)
	set("workflow ID", action.ID)
	set("task queue", action.TaskQueue)
	set("run timeout", span(action.WorkflowRunTimeout))
	set("execution timeout", span(action.WorkflowExecutionTimeout))
	set("task timeout", span(action.WorkflowTaskTimeout))
	set("summary", action.StaticSummary)
	if action.RetryPolicy != nil && action.RetryPolicy.MaximumAttempts != 1 {
		set("retries", fmt.Sprintf("at most %d", action.RetryPolicy.MaximumAttempts))
	}
	for i, arg := range action.Args {
		text, err := p.plain(arg)
		if err != nil {
			return nil, err
		}
		name := "input"
		if i > 0 {
			name = fmt.Sprintf("input %d", i+1)
		}
		set(name, text)
	}
	return t, nil
}

// plain is an argument as JSON, in one order of its members whoever wrote it. A
// description has payloads, a configured action values.
func (p *Payloads) plain(arg any) (string, error) {
	payload, ok := arg.(*commonpb.Payload)
	if ok {
		opened, err := p.codec.Decode([]*commonpb.Payload{payload})
		if err != nil {
			return "", err
		}
		payload = opened[0]
	} else {
		var err error
		if payload, err = converter.GetDefaultDataConverter().ToPayload(arg); err != nil {
			return "", fault.New(fault.InputInvalid, "encode input of", "schedule", err)
		}
	}
	if !json.Valid(payload.GetData()) {
		return string(payload.GetData()), nil
	}
	var value any
	err := json.Unmarshal(payload.GetData(), &value)
	text, encodeErr := json.Marshal(value)
	if err := errors.Join(err, encodeErr); err != nil {
		return "", fault.New(fault.InputInvalid, "read input of", "schedule", err)
	}
	return string(text), nil
}

// appliedOf reads the memo of a described action; false when it is not there, or
// is not what Lifeboat wrote.
func (p *Payloads) appliedOf(s client.Schedule) (applied, bool) {
	action, ok := s.Action.(*client.ScheduleWorkflowAction)
	if !ok {
		return applied{}, false
	}
	var a applied
	if !p.memo(action.Memo[memoKey], &a) {
		return applied{}, false
	}
	return a, a.Hash != "" && a.Hash == a.Terms.hash()
}

// memo decodes an entry of a memo as the SDK describes it.
func (p *Payloads) memo(entry, into any) bool {
	payload, ok := entry.(*commonpb.Payload)
	return ok && p.values.FromPayload(payload, into) == nil
}
