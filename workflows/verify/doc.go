// Package verify proves finished backups: VerifyBackup looks for them in the listings
// of the stores (L0), reads them back (L1),
// restores databases to look at them (L2) and compares what comes back with what
// the source held (L3). Production is not touched, and nothing is left behind. What it
// finds stands on the ledger and, for whoever recovers, beside the backup.
package verify
