package run

import (
	"reflect"
	"runtime"
	"strings"
)

// ActivityName is the name under which the worker registers an activity:
// package and method, as in "postgres.Restore", so that two technologies may use
// the same word. method is a method reference on a nil *Activities.
func ActivityName(method any) string {
	full := runtime.FuncForPC(reflect.ValueOf(method).Pointer()).Name()
	full = strings.TrimSuffix(full[strings.LastIndex(full, "/")+1:], "-fm")
	return strings.Replace(full, ".(*Activities)", "", 1)
}
