// Package run is what every run shares: steps with readable names, the clocks
// of the objectives, progress for query and Web UI, and the translation of
// faults into Temporal failures. Deterministic code only.
package run
