// Package temporalfault carries faults across Temporal: an activity's or a
// workflow's *fault.Error becomes an ApplicationError whose type is the kind,
// and comes back as the same *fault.Error on the other side.
package temporalfault

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/frende/lifeboat/internal/fault"
)

// details is what travels beside the message.
type details struct {
	Op      string `json:"op"`
	Subject string `json:"subject"`
	Cause   string `json:"cause,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// longestCause keeps a failure under the 4 KB that Temporal stores of a pending activity's last one.
const longestCause = 1500

// ToTemporal turns a fault anywhere in err's chain into an ApplicationError;
// every other error, nil, Temporal's own and a cancellation among them, is returned as it is.
func ToTemporal(err error) error {
	if errors.Is(err, context.Canceled) {
		return err // the SDK must see that the activity obeyed its cancellation
	}
	found, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	cause := ""
	if found.Cause != nil {
		cause = found.Cause.Error()
		if len(cause) > longestCause {
			cause = cause[:longestCause] + " …"
		}
	}
	shown := *found
	if cause != "" {
		shown.Cause = errors.New(cause)
	}
	message := shown.Error()
	if found.Hint != "" {
		message += "\nHINT: " + found.Hint
	}
	return temporal.NewApplicationErrorWithOptions(message, string(found.Kind), temporal.ApplicationErrorOptions{
		NonRetryable: !found.Retryable(),
		Details:      []any{details{Op: found.Op, Subject: found.Subject, Cause: cause, Hint: found.Hint}},
	})
}

// FromTemporal finds the fault in an error that came back through Temporal; a
// step that Temporal gave up waiting for, with no fault of its own, is a
// StepTimeout. An error without any is returned as it is.
func FromTemporal(err error) error {
	if err == nil {
		return nil
	}
	if found, ok := errors.AsType[*fault.Error](err); ok {
		return found
	}
	application, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok {
		return timedOut(err)
	}
	if application.Type() == "" {
		return err
	}
	var carried details
	if application.HasDetails() {
		if decodeErr := application.Details(&carried); decodeErr != nil {
			if sealed, ok := errors.AsType[*fault.Error](decodeErr); ok {
				return sealed // the key that opens it is not at hand, and that is the first thing to mend
			}
			return err
		}
	}
	if carried.Op == "" {
		return err
	}
	restored := &fault.Error{Kind: fault.Kind(application.Type()), Op: carried.Op, Subject: carried.Subject, Hint: carried.Hint}
	if carried.Cause != "" {
		restored.Cause = errors.New(carried.Cause)
	}
	return restored
}

// timedOut names what Temporal ended because nothing was heard of it.
func timedOut(err error) error {
	timeout, ok := errors.AsType[*temporal.TimeoutError](err)
	if !ok {
		return err
	}
	subject := "step"
	if step, ok := errors.AsType[*temporal.ActivityError](err); ok {
		subject = step.ActivityID()
	} else if child, ok := errors.AsType[*temporal.ChildWorkflowExecutionError](err); ok {
		subject = child.WorkflowID()
	}
	return fault.New(fault.StepTimeout, "wait for", subject, errors.New(timeout.Message()))
}
