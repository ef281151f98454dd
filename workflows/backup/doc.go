// Package backup captures components and proves what was captured.
//
// A backup workflow captures each component of its kind, reads every stored
// byte back (proof level L1), records it on the ledger, and brings the replica
// up to date. BackupSystem does so for all components at once: a recovery point
// across the system.
package backup
