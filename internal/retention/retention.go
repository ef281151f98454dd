package retention

import (
	"context"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// Bounds of what is deleted by itself.
const (
	DefaultAtMost = 20              // percent of a component's backups that one run may remove
	mostSkew      = 5 * time.Minute // that a clock may differ from a store's
	freshProof    = 36 * time.Hour  // how old the newest proof may be
	leastProven   = 2               // proven backups that stay
	mostPlanned   = 2000            // backups that one run removes from one store: a plan is one payload
)

// Config is what retention needs. Vault and Ledger are needed.
type Config struct {
	System system.System
	Vault  *vault.Vault
	Ledger *ledger.Ledger
	Now    func() time.Time // nil: time.Now
	By     string           // host or person, for the marks
	AtMost int              // percent of a component's backups that may go; 0: DefaultAtMost

	// Clock gives a store's time less this host's. nil: the store is asked, and one
	// that can't tell is refused.
	Clock func(ctx context.Context, s store.Store) (time.Duration, error)

	// Reading names a run that may be reading backups now: "" when there is none.
	// nil: nobody does.
	Reading func(ctx context.Context) (run string, err error)

	// Running says whether the run that wrote a backup still works. nil: none does.
	Running func(ctx context.Context, runID string) (bool, error)

	Progress func(done, total int64) // in stored bytes; may be nil
}

// Retention judges and removes. It is made for one plan or one carrying out.
type Retention struct{ cfg Config }

// New makes a Retention. Nothing is read yet.
func New(c Config) (*Retention, error) {
	if c.Vault == nil || c.Ledger == nil || c.System.Backup.Retention <= 0 {
		return nil, fault.Newf(fault.ConfigInvalid, "apply retention of", c.System.Name, "a vault, a ledger and backup.retention are needed")
	}
	if _, replicated := replicaOf(c.System); replicated != (c.Vault.Replica() != nil) || c.System.From != "" {
		return nil, fault.Newf(fault.RetentionRefused, "apply retention of", c.System.Name, "one of its stores is left out").
			WithHint("what goes from one store depends on what the other holds: leave out --from")
	}
	if c.AtMost < 0 || c.AtMost > 100 {
		return nil, fault.Newf(fault.InputInvalid, "apply retention of", c.System.Name, "%d percent of the backups can't go", c.AtMost).
			WithHint("give a whole number from 1 to 100, or none for %d", DefaultAtMost)
	}
	if c.AtMost == 0 {
		c.AtMost = DefaultAtMost
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Clock == nil {
		c.Clock = askClock
	}
	if c.Reading == nil {
		c.Reading = func(context.Context) (string, error) { return "", nil }
	}
	if c.Progress == nil {
		c.Progress = func(int64, int64) {}
	}
	return &Retention{cfg: c}, nil
}

// replicaOf finds the primary store's replica.
func replicaOf(s system.System) (system.Store, bool) {
	primary, err := s.Primary()
	if err != nil {
		return system.Store{}, false
	}
	return s.ReplicaOf(primary)
}

func askClock(ctx context.Context, s store.Store) (time.Duration, error) {
	asked, ok := s.(store.Inspector)
	if !ok {
		return 0, fault.Newf(fault.RetentionRefused, "ask for the time", s.Name(), "it does not tell its time")
	}
	return asked.Clock(ctx)
}

// checkClocks refuses to delete by a clock that is wrong.
func (r *Retention) checkClocks(ctx context.Context, sides []*side) error {
	for _, s := range sides {
		skew, err := r.cfg.Clock(ctx, s.vault.Store())
		if err != nil {
			return err
		}
		if skew.Abs() > mostSkew {
			return fault.Newf(fault.RetentionRefused, "apply retention in", s.vault.Store().Name(), "its clock differs by %s from this host's", system.Duration(skew.Abs().Round(time.Second))).
				WithHint("set the clock of the worker's host right: by a wrong one, backups look older than they are")
		}
	}
	return nil
}

// checkReaders refuses to delete what somebody may be reading.
func (r *Retention) checkReaders(ctx context.Context) error {
	run, err := r.cfg.Reading(ctx)
	if err != nil {
		return err
	}
	if run != "" {
		return fault.Newf(fault.RetentionRefused, "apply retention of", r.cfg.System.Name, "%s runs, and may be reading what would go", run).
			WithHint("let it end, and start this run again, or wait for the schedule's next; what is half removed is removed then")
	}
	return nil
}

// Retain is the retention's length.
func (r *Retention) retain() time.Duration { return r.cfg.System.Backup.Retention.Std() }
