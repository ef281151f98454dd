// Package checks holds the activity that asks whether a recovered system does
// its work.
package checks
