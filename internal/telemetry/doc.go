// Package telemetry is what a process of Lifeboat tells of itself: its log and
// its traces. No secret is in what it tells: what a process has resolved is
// known to its Secrets, and everything that is written or sent passes through them.
package telemetry
