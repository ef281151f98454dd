package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// bytesText writes a size as a person reads it, in powers of 1000 as disks and
// networks are sold: "1.9 GB".
func bytesText(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, unit := float64(n)/1000, 0
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for value >= 999.95 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// durationText keeps the digits that matter: 41.2s, 3m20s, 1h0m0s.
func durationText(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	default:
		return d.Round(time.Second).String()
	}
}

func std(d system.Duration) time.Duration { return time.Duration(d) }

// timeText is a moment in UTC, to the second.
func timeText(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// verdict is the first line of a report.
func (r *Run) verdict(now time.Time) string {
	what := cmp.Or(r.System, r.ID)
	rta := durationText(r.RTA(now))
	switch r.Outcome {
	case Succeeded:
		return fmt.Sprintf("%s of %s succeeded in %s%s", r.kind(), what, rta, r.against(r.Objective, r.RTA(now)))
	case Failed:
		return fmt.Sprintf("%s of %s FAILED after %s", r.kind(), what, rta)
	case Aborted:
		return fmt.Sprintf("%s of %s was aborted after %s", r.kind(), what, rta)
	default:
		return fmt.Sprintf("%s of %s is running, %s so far%s", r.kind(), what, rta, r.against(r.Objective, r.RTA(now)))
	}
}

func (r *Run) kind() string {
	switch {
	case strings.HasPrefix(r.Kind, "Recover"):
		return "recovery"
	case strings.HasPrefix(r.Kind, "Backup"):
		return "backup"
	default:
		return cmp.Or(r.Kind, "run")
	}
}

// against compares with an objective, when there is one.
func (r *Run) against(objective system.Duration, took time.Duration) string {
	if objective == 0 {
		return ""
	}
	if took > std(objective) {
		return fmt.Sprintf(" (objective %s, MISSED by %s)", std(objective), durationText(took-std(objective)))
	}
	return fmt.Sprintf(" (objective %s)", std(objective))
}

// notRecovered stands where an objective would be judged, for a part that never came back.
const notRecovered = "not recovered"

// met says what became of an objective.
func met(objective system.Duration, breached bool) string {
	switch {
	case objective == 0:
		return "–"
	case breached:
		return "missed"
	default:
		return "met"
	}
}

func objectiveText(objective system.Duration) string {
	if objective == 0 {
		return "–"
	}
	return std(objective).String()
}

// state is a step's outcome in one word.
func (s *Step) state() string {
	switch {
	case s.Outcome != "":
		return string(s.Outcome)
	case s.Started.IsZero():
		return "waiting"
	default:
		return "running"
	}
}

// details says what is worth knowing of a step besides its time: bytes, rate,
// further attempts, what was resumed, which objects came from elsewhere, and
// what it found.
func (s *Step) details() string {
	var parts []string
	switch {
	case s.Total > 0 && s.Bytes < s.Total:
		parts = append(parts, fmt.Sprintf("%s of %s (%d %%)", bytesText(s.Bytes), bytesText(s.Total), 100*s.Bytes/s.Total))
	case s.Bytes > 0:
		parts = append(parts, bytesText(s.Bytes))
	}
	if s.Rate > 0 {
		parts = append(parts, bytesText(s.Rate)+"/s")
	}
	if s.Attempts > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", s.Attempts))
	}
	if s.Resumed > 0 {
		parts = append(parts, bytesText(s.Resumed)+" resumed")
	}
	if n := len(s.Fallbacks); n > 0 {
		parts = append(parts, fmt.Sprintf("%d from %s", n, s.Fallbacks[0].To))
	}
	if s.Breached {
		parts = append(parts, "objective "+std(s.Objective).String()+" missed")
	}
	switch {
	case s.Failure != nil && s.Failure.Kind != "":
		parts = append(parts, s.Failure.Kind)
	case s.Failure == nil && s.Detail != "":
		parts = append(parts, s.Detail)
	}
	return strings.Join(parts, ", ")
}
