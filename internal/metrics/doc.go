// Package metrics is what a worker lets Prometheus read: how steps and
// recoveries ended, which the worker counts as they end, and how the system
// stands against its objectives, which is looked up when somebody asks. Names
// and meanings are in docs/METRICS.md.
package metrics
