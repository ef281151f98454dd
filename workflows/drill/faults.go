package drill

import (
	"strings"

	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/workflows/run"
)

// each takes errors apart that were joined.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range many.Unwrap() {
			all = append(all, each(one)...)
		}
		return all
	}
	return []error{err}
}

// first is the error that a drill ends with: what went wrong first.
func first(err error) error {
	if all := each(err); len(all) > 0 {
		return all[0]
	}
	return nil
}

func reasons(err error) string {
	var told []string
	for _, one := range each(err) {
		told = append(told, run.Reason(one))
	}
	return strings.Join(told, "; ")
}

func isCancelled(err error) bool { return temporal.IsCanceledError(first(err)) }

func joined(text, more string) string {
	if text == "" {
		return more
	}
	return text + "; " + more
}
