// Package records reads the configuration that a run is pinned to, and puts on
// the ledger what a run did: backups, recovery points, notices, reports.
package records
