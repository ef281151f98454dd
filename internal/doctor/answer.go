package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

const day = 24 * time.Hour

func well(format string, args ...any) answer {
	return answer{status: OK, what: fmt.Sprintf(format, args...)}
}

func warning(what, why, mend string) answer {
	return answer{status: Warning, what: what, why: why, mend: mend}
}

func problem(what, why, mend string) answer {
	return answer{status: Problem, what: what, why: why, mend: mend}
}

// failure is a problem that an error tells.
func failure(err error, why string) answer {
	return problem(told(err), why, fault.HintOf(err))
}

// told is an error in few words: of a fault what it means and why. The check's
// name says what was done and to what.
func told(err error) string {
	found, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if errors.Is(found.Cause, context.DeadlineExceeded) {
		return found.Kind.Definition().Summary + ": no answer in time"
	}
	return found.Kind.Definition().Summary + because(found.Cause)
}

// because is a cause in one line: drivers list each address that they tried.
func because(cause error) string {
	if cause == nil {
		return ""
	}
	line, _, _ := strings.Cut(cause.Error(), "\n")
	return ": " + line
}

func unexamined(because *question) answer {
	root := because.root()
	return answer{status: Unknown, what: "not examined", because: root}
}

// mended gives the answer a fix.
func (a answer) mended(what string, do func(ctx context.Context) error) answer {
	a.fix = &fix{what: what, do: do}
	return a
}

// brief writes a length of time as a person says it.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + brief(-d)
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	default:
		return d.Round(time.Second).String()
	}
}
