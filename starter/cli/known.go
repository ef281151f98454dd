package cli

import (
	"context"
	"slices"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/retention"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// Kinds under which the ledger keeps what is known of a backup, by its key.
const (
	kindBackup = "backup" // body: api.BackupMade
	kindProof  = "proof"  // body: the level reached
	kindDamage = "damage" // body: what a verification found
)

const (
	knowing = 3 * time.Second // how long a listing waits for the ledger
	skew    = time.Hour       // how far the clocks of writers may differ
)

// know adds to a listing what the ledger says of its backups: size and proof. It
// is for the eye: what the ledger does not say in time, or can't, stays unknown.
func (a *app) know(ctx context.Context, s *system.System, backups []listed) error {
	wanted, oldest := map[string]*listed{}, a.Now()
	for i := range backups {
		if one := &backups[i]; one.Complete {
			wanted[one.Key] = one
			if one.At.Before(oldest) {
				oldest = one.At
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, knowing)
	defer cancel()
	records, err := a.assembly(s).Ledger(limited, *s, reader)
	if err != nil {
		return ctx.Err()
	}
	left, released := len(wanted), map[string]bool{}
	defer func() {
		for _, one := range wanted {
			one.Holds = slices.DeleteFunc(one.Holds, func(h retention.Hold) bool { return released[h.Backup+" "+h.ID] })
		}
	}()
	for entry, err := range records.Newest(limited, ledger.Filter{}) {
		if limited.Err() != nil || fault.Has(err, fault.StorageUnavailable) {
			break
		}
		if err != nil {
			continue
		}
		if left == 0 || entry.Time.Before(oldest.Add(-skew)) {
			break
		}
		if entry.Kind == retention.KindRelease {
			var body retention.ReleaseBody
			if entry.Decode(&body) == nil {
				for _, id := range body.Holds {
					released[entry.Subject+" "+id] = true
				}
			}
		}
		if one := wanted[entry.Subject]; one != nil && one.learn(entry) {
			left--
		}
	}
	return ctx.Err()
}

// learn takes what a record says of the backup. It is true for the record of the
// backup itself, before which there is none.
func (l *listed) learn(entry ledger.Entry) bool {
	switch entry.Kind {
	case kindBackup:
		var made api.BackupMade
		if entry.Decode(&made) == nil {
			l.Bytes, l.Stored = made.Bytes, made.Stored
			if !l.damagedAt {
				l.Proof = max(l.Proof, made.Proof)
			}
		}
		return true
	case retention.KindHold:
		if hold, err := retention.ReadHold(entry); err == nil {
			l.Holds = append(l.Holds, hold)
		}
	case kindDamage:
		var found api.Verified
		if entry.Decode(&found) == nil && !l.damagedAt {
			l.damagedAt = true
			if l.Proof < found.Level { // no such verification has passed since
				l.Damage = found.Damage
			}
		}
	case kindProof:
		var proven struct {
			Level string `json:"level"`
		}
		if entry.Decode(&proven) == nil && !l.damagedAt {
			l.Proof = max(l.Proof, proven.Level)
		}
	}
	return false
}

// columns are the sizes and the proof of a backup as a listing shows them.
func (l *listed) columns() (size, stored, proof string) {
	size, stored, proof = "?", "?", "?"
	if !l.Complete {
		return "-", "-", "-"
	}
	if l.Stored > 0 {
		size, stored = system.Bytes(l.Bytes).Human(), system.Bytes(l.Stored).Human()
	}
	if l.Proof != "" {
		proof = l.Proof
	}
	return size, stored, proof
}
