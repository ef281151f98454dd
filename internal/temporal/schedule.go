package temporal

import (
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// memoKey is the name of Lifeboat's entry in the memo of a schedule (whose it is)
// and in that of its action (what was applied).
const memoKey = "lifeboat"

// desired is a schedule of lifeboat.yaml in Temporal's terms.
type desired struct {
	name  string
	id    string
	note  string
	runs  client.Schedule // without a state
	terms terms
}

// desire translates what is configured. UTC always; a run that is due while the
// last one still works is skipped, and counted (see overlapOf); a failure never pauses.
func desire(s system.System, configured system.Schedule) (desired, error) {
	id := api.ScheduleID(s.Name, configured.Name)
	d := desired{name: configured.Name, id: id, note: noteOf(configured)}
	spec, err := specOf(configured)
	if err != nil {
		return desired{}, err
	}
	action := &client.ScheduleWorkflowAction{
		ID:                 id,
		Workflow:           configured.Workflow,
		Args:               []any{inputOf(s, configured)},
		TaskQueue:          api.Queue,
		WorkflowRunTimeout: configured.Timeout.Std(),
		StaticSummary:      summaryOf(s, configured),
		StaticDetails:      fmt.Sprintf("Started by the schedule **%s** of %s: %s.", configured.Name, s.Name, configured.Starts()),
	}
	d.runs = client.Schedule{
		Action: action, Spec: &spec,
		Policy: &client.SchedulePolicies{Overlap: overlapOf(configured), CatchupWindow: configured.Catchup.Std()},
		State:  &client.ScheduleState{},
	}
	if d.terms, err = inTheClear().termsOf(d.runs); err != nil {
		return desired{}, err
	}
	action.Memo = map[string]any{memoKey: applied{Hash: d.terms.hash(), Terms: d.terms}}
	return d, nil
}

// noteOf says what a schedule is, where people look at it in Temporal.
func noteOf(configured system.Schedule) string { return configured.Starts() + ", from lifeboat.yaml" }

// overlapOf: a replication follows the store until the next one is due, which
// then takes over at once. Everything else is skipped while the last one works.
func overlapOf(configured system.Schedule) enums.ScheduleOverlapPolicy {
	if configured.Workflow == api.ReplicateStore && configured.Every > 0 {
		return enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE
	}
	return enums.SCHEDULE_OVERLAP_POLICY_SKIP
}

func desireAll(s system.System) ([]desired, error) {
	all := make([]desired, 0, len(s.Schedules))
	for _, configured := range s.Schedules {
		one, err := desire(s, configured)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func specOf(configured system.Schedule) (client.ScheduleSpec, error) {
	spec := client.ScheduleSpec{TimeZoneName: "UTC"}
	calendar, ok, err := configured.Calendar()
	switch {
	case err != nil:
		return spec, err
	case ok:
		spec.Calendars = []client.ScheduleCalendarSpec{{
			Minute: ranges(calendar.Minutes), Hour: ranges(calendar.Hours), DayOfMonth: ranges(calendar.Days),
			Month: ranges(calendar.Months), DayOfWeek: ranges(calendar.Weekdays), Comment: configured.When + configured.Cron,
		}}
	default:
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: configured.Every.Std()}}
	}
	return spec, nil
}

// ranges writes sorted numbers as the ranges they form.
func ranges(numbers []int) []client.ScheduleRange {
	var all []client.ScheduleRange
	for _, n := range numbers {
		if last := len(all) - 1; last >= 0 && all[last].End == n-1 {
			all[last].End = n
		} else {
			all = append(all, client.ScheduleRange{Start: n, End: n, Step: 1})
		}
	}
	return all
}

// inputOf is what the workflow is started with.
func inputOf(s system.System, configured system.Schedule) any {
	by := "schedule " + configured.Name
	switch configured.Workflow {
	case api.BackupSystem, api.BackupDatabase, api.BackupCache, api.BackupFiles, api.BackupConfiguration, api.DumpDatabase:
		return api.BackupInput{System: s.Name, Component: configured.Of, By: by, IfChanged: configured.IfChanged, Format: string(configured.Format)}
	case api.ReplicateStore:
		return api.ReplicateInput{System: s.Name, Follow: configured.Every} // until the next one takes over
	case api.CleanUp:
		return api.CleanUpInput{System: s.Name, By: by}
	case api.ApplyRetention:
		return api.RetentionInput{System: s.Name, By: by}
	case api.CheckArchive:
		return api.CheckArchiveInput{System: s.Name, Component: configured.Of, By: by}
	case api.VerifyBackup:
		in := api.VerifyInput{System: s.Name, Level: configured.Level, Random: configured.Random, By: by}
		if configured.Of != "" {
			in.Component = system.ComponentID(system.KindDatabase, configured.Of)
		}
		return in
	default:
		return struct{}{}
	}
}

func summaryOf(s system.System, configured system.Schedule) string {
	of := configured.Of
	if of == "" {
		of = s.Name
	} else {
		of += " of " + s.Name
	}
	switch configured.Workflow {
	case api.ReplicateStore:
		return "bring the replica of " + of + " up to date"
	case api.DrillSystem:
		return "drill: recover " + of + " into the sandbox"
	case api.ReportStatus:
		return "report the status of " + of
	case api.CleanUp:
		return "clean up after " + of
	case api.ApplyRetention:
		return "remove what the retention of " + of + " has left behind"
	case api.CheckArchive:
		return "check the WAL archive of " + of
	case api.VerifyBackup:
		return fmt.Sprintf("prove backups of %s at L%d", of, configured.ProofLevel())
	case api.DumpDatabase:
		return "dump database " + of
	}
	what := map[string]string{
		api.BackupSystem: "", api.BackupDatabase: "database ", api.BackupCache: "cache ", api.BackupFiles: "files ", api.BackupConfiguration: "configuration ",
	}[configured.Workflow]
	return "back up " + what + of
}
