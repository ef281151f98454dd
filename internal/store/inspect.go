package store

import (
	"context"
	"time"
)

// ProbeFolder holds what is put to see whether a store can be written to. What
// lies there belongs to no backup, is never replicated, and may be deleted.
const ProbeFolder = "doctor/"

// Inspector is a store that can tell how its bucket is set up. Its errors are
// those of Store: StorageDenied when these credentials may not ask.
type Inspector interface {
	// Clock gives the store's time less this host's, exact to a second or two.
	// Every answer of a server tells its time, a refusal too: an error means
	// that there was no answer.
	Clock(ctx context.Context) (time.Duration, error)

	// Versioning says whether the bucket keeps the versions of its objects.
	Versioning(ctx context.Context) (bool, error)

	// ObjectLock says whether and how new objects are locked against deletion.
	ObjectLock(ctx context.Context) (Lock, error)
}

// Lock is the Object Lock of a bucket. Without a Retention, only objects that
// ask for a lock get one.
type Lock struct {
	Enabled   bool
	Mode      string        // "COMPLIANCE" or "GOVERNANCE"; empty without a retention
	Retention time.Duration // that a new object gets by itself
}
