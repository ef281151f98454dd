// Package fault is the registry of every error Lifeboat names.
//
// An error a person can meet is a *Error: it says what was being done (Op), on
// what (Subject), which named fault it is (Kind), why (Cause) and what to do
// (Hint). The Kind decides whether trying again can help, and the exit code of
// the lifeboat command. Errors are made where the fact is known, wrapped never,
// and translated to Temporal failures once, at the edge (temporalfault).
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Error is one named fault. Its text is lower case, has no trailing dot, and
// never holds a secret or the output of another program.
type Error struct {
	Kind    Kind
	Op      string // what was being done: "open backup"
	Subject string // on what: a key, a path, a database
	Cause   error  // why, when another error says it; may be nil
	Hint    string // what to do; empty: the Kind's own hint
}

// New makes an Error whose hint is the one of its kind. cause may be nil.
func New(kind Kind, op, subject string, cause error) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Cause: cause, Hint: kind.Definition().Hint}
}

// Newf is New with the cause given as text.
func Newf(kind Kind, op, subject, format string, args ...any) *Error {
	return New(kind, op, subject, fmt.Errorf(format, args...))
}

// WithHint returns the error with a hint that knows more than its kind's.
func (e *Error) WithHint(format string, args ...any) *Error {
	copied := *e
	copied.Hint = fmt.Sprintf(format, args...)
	return &copied
}

// Error gives "op subject: summary: cause", in one line and without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		b.WriteByte(' ')
		b.WriteString(e.Subject)
	}
	b.WriteString(": ")
	b.WriteString(e.Kind.Definition().Summary)
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is says that two faults are the same when their kinds are, so that
// errors.Is(err, fault.KeyUnavailable.Err()) works through any wrapping.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Kind == e.Kind && other.Op == "" && other.Subject == ""
}

// Retryable says whether the same attempt may succeed later with nothing changed by a person.
func (e *Error) Retryable() bool { return e.Kind.Definition().Retryable }

// KindOf returns the kind of the first Error in err's chain, or "" when there is none.
func KindOf(err error) Kind {
	if found, ok := errors.AsType[*Error](err); ok {
		return found.Kind
	}
	return ""
}

// Has says whether err is, or wraps, a fault of this kind.
func Has(err error, kind Kind) bool { return KindOf(err) == kind }

// HintOf returns the hint of the first Error in err's chain, or "".
func HintOf(err error) string {
	if found, ok := errors.AsType[*Error](err); ok {
		return found.Hint
	}
	return ""
}

// Retryable says whether err may pass by itself. An error that is not a fault
// is taken to: better one attempt too many than a recovery given up.
func Retryable(err error) bool {
	if found, ok := errors.AsType[*Error](err); ok {
		return found.Retryable()
	}
	return true
}
