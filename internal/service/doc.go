// Package service starts, stops and looks at the services of a system: systemd
// units, compose services, and programs with start, stop and status commands.
//
// It promises:
//   - Start and Stop return when the service has the state asked for, or with
//     ServiceFailed when its Timeout has passed; what has that state already is
//     left alone.
//   - Both may be called again at any time: after a crash, the next call looks
//     at the service and goes on from there.
//   - An error names the service, and its hint where the service's log is.
//
// A status command exits with 0 when the service runs and 3 when it is stopped,
// as the Linux Standard Base says of init scripts; every other status is a failure.
package service
