package temporal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// terms are all that decides what a schedule does, each under a name and in words
// that a person understands. Two schedules with equal terms do the same.
type terms map[string]string

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
			all = append(all, fmt.Sprintf("%s: %s instead of %s", name, orNone(now[name]), orNone(t[name])))
		}
	}
	return all
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// termsOf reads them from a schedule, be it configured or as Temporal describes it.
func termsOf(s client.Schedule) (terms, error) {
	t := terms{}
	set := func(name, value string) {
		if value != "" {
			t[name] = value
		}
	}
	set("starts", startsOf(s.Spec))
	set("not before", moment(s.Spec.StartAt))
	set("not after", moment(s.Spec.EndAt))
	set("jitter", span(s.Spec.Jitter))
	if len(s.Spec.Skip) > 0 {
		set("except", joinCalendars(s.Spec.Skip))
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
		text, err := plain(arg)
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

// plain is an argument as JSON. A description has payloads, a configured action values.
func plain(arg any) (string, error) {
	payload, ok := arg.(*commonpb.Payload)
	if !ok {
		var err error
		if payload, err = converter.GetDefaultDataConverter().ToPayload(arg); err != nil {
			return "", fault.New(fault.InputInvalid, "encode input of", "schedule", err)
		}
	}
	return string(payload.GetData()), nil
}

// appliedOf reads the memo of a described action; false when it is not there, or
// is not what Lifeboat wrote.
func appliedOf(s client.Schedule) (applied, bool) {
	action, ok := s.Action.(*client.ScheduleWorkflowAction)
	if !ok {
		return applied{}, false
	}
	var a applied
	if !memo(action.Memo[memoKey], &a) {
		return applied{}, false
	}
	return a, a.Hash != "" && a.Hash == a.Terms.hash()
}

// memo decodes an entry of a memo as the SDK describes it.
func memo(entry, into any) bool {
	payload, ok := entry.(*commonpb.Payload)
	return ok && converter.GetDefaultDataConverter().FromPayload(payload, into) == nil
}

func startsOf(spec *client.ScheduleSpec) string {
	var parts []string
	if len(spec.Calendars) > 0 {
		parts = append(parts, joinCalendars(spec.Calendars))
	}
	for _, interval := range spec.Intervals {
		text := "every " + span(interval.Every)
		if interval.Offset != 0 {
			text += " + " + span(interval.Offset)
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "never"
	}
	return strings.Join(parts, "; ")
}

func joinCalendars(calendars []client.ScheduleCalendarSpec) string {
	texts := make([]string, len(calendars))
	for i, c := range calendars {
		texts[i] = system.Calendar{
			Minutes: numbers(c.Minute), Hours: numbers(c.Hour), Days: numbers(c.DayOfMonth), Months: numbers(c.Month), Weekdays: numbers(c.DayOfWeek),
		}.String()
		if seconds := numbers(c.Second); len(seconds) > 0 && !slices.Equal(seconds, []int{0}) {
			texts[i] += fmt.Sprintf(", at seconds %v", seconds)
		}
		if years := numbers(c.Year); len(years) > 0 {
			texts[i] += fmt.Sprintf(", in the years %v", years)
		}
	}
	return strings.Join(texts, "; ")
}

// numbers lists what ranges hold.
func numbers(ranges []client.ScheduleRange) []int {
	var all []int
	for _, r := range ranges {
		for n := r.Start; n <= max(r.Start, r.End); n += max(1, r.Step) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return system.Duration(d).String()
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
