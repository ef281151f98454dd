package retention

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
)

// Kinds of records of the ledger, by a backup's key.
const (
	KindHold    = "hold"    // body: HoldBody
	KindRelease = "release" // body: ReleaseBody

	kindBackup = "backup" // body: {"proof":"L1"}
	kindProof  = "proof"  // body: {"level":"L3"}
	kindDamage = "damage" // a verification found the backup damaged: what is older proves nothing any more
)

// HoldBody is what a hold's record says.
type HoldBody struct {
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
}

// ReleaseBody is what a release's record says. A hold ends only by its own name:
// no clock decides which of two records is the later.
type ReleaseBody struct {
	Holds  []string `json:"holds"` // IDs of the holds that end
	Reason string   `json:"reason,omitempty"`
	By     string   `json:"by,omitempty"`
}

// Hold keeps a backup from being removed, however old it gets.
type Hold struct {
	ID     string    `json:"id"` // place of its record on the ledger
	Backup string    `json:"backup"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
}

// proofs are what was found of a backup.
type proofs struct {
	found   []proof
	damaged time.Time // when it was last found damaged; zero: never
}

type proof struct {
	level int
	at    time.Time
}

// reached gives when a level or a higher one was last reached; false when it was not,
// or when the backup was found damaged since.
func (p *proofs) reached(level int) (at time.Time, ok bool) {
	if p == nil {
		return time.Time{}, false
	}
	for _, one := range p.found {
		if one.level >= level && one.at.After(p.damaged) {
			ok = true
			if one.at.After(at) {
				at = one.at
			}
		}
	}
	return at, ok
}

// known is what the ledger says of backups.
type known struct {
	proofs map[string]*proofs
	holds  map[string][]Hold // in force, by backup
}

// Holds gives the holds in force, in the order of the ledger. The whole ledger
// is read and checked: a record that is missing or can't be read might be a hold.
func Holds(ctx context.Context, records *ledger.Ledger) ([]Hold, error) {
	k, order, err := read(ctx, records)
	if err != nil {
		return nil, err
	}
	holds := []Hold{}
	for _, backup := range order {
		holds = append(holds, k.holds[backup]...)
	}
	return holds, nil
}

// ReadHold reads a record of kind KindHold.
func ReadHold(entry ledger.Entry) (Hold, error) {
	var body HoldBody
	err := entry.Decode(&body)
	return Hold{ID: fmt.Sprintf("%s/%d", entry.Writer, entry.Sequence), Backup: entry.Subject, Reason: body.Reason, By: body.By, At: entry.Time}, err
}

// read reads the whole ledger. order names the backups that are or were held.
func read(ctx context.Context, records *ledger.Ledger) (k known, order []string, err error) {
	k = known{proofs: map[string]*proofs{}, holds: map[string][]Hold{}}
	last, previous := map[string]int64{}, map[string]string{}
	released := map[string]bool{}
	for entry, err := range records.Read(ctx, ledger.Filter{}) {
		if err != nil {
			return k, nil, err
		}
		if entry.Sequence != last[entry.Writer]+1 || entry.Previous != previous[entry.Writer] {
			return k, nil, fault.Newf(fault.IntegrityError, "read ledger", fmt.Sprintf("ledger/%s", entry.Writer), "record %d does not follow the one before it", entry.Sequence).
				WithHint("the ledger was changed after it was written: compare it with the replica's and with the bucket's older versions")
		}
		last[entry.Writer], previous[entry.Writer] = entry.Sequence, entry.Hash
		switch entry.Kind {
		case KindHold:
			hold, err := ReadHold(entry)
			if err != nil {
				return k, nil, err
			}
			if k.holds[entry.Subject] == nil {
				order = append(order, entry.Subject)
			}
			k.holds[entry.Subject] = append(k.holds[entry.Subject], hold)
		case KindRelease:
			var body ReleaseBody
			if err := entry.Decode(&body); err != nil {
				return k, nil, err
			}
			for _, id := range body.Holds {
				released[entry.Subject+" "+id] = true
			}
		case kindBackup, kindProof, kindDamage:
			if err := k.prove(entry); err != nil {
				return k, nil, err
			}
		}
	}
	for backup, holds := range k.holds {
		var left []Hold
		for _, hold := range holds {
			if !released[backup+" "+hold.ID] {
				left = append(left, hold)
			}
		}
		k.holds[backup] = left
	}
	return k, order, nil
}

func (k known) prove(entry ledger.Entry) error {
	one := k.proofs[entry.Subject]
	if one == nil {
		one = &proofs{}
		k.proofs[entry.Subject] = one
	}
	if entry.Kind == kindDamage {
		if entry.Time.After(one.damaged) {
			one.damaged = entry.Time
		}
		return nil
	}
	var body struct {
		Level string `json:"level"`
		Proof string `json:"proof"`
	}
	if err := entry.Decode(&body); err != nil {
		return err
	}
	if entry.Kind == kindBackup {
		body.Level = body.Proof
	}
	number, ok := strings.CutPrefix(body.Level, "L")
	level, err := strconv.Atoi(number)
	if !ok || err != nil {
		return nil //nolint:nilerr // a level that this release does not know proves nothing
	}
	one.found = append(one.found, proof{level, entry.Time})
	return nil
}

// why tells the first hold.
func why(holds []Hold) string {
	told := "held"
	if holds[0].By != "" {
		told += " by " + holds[0].By
	}
	told += " since " + holds[0].At.UTC().Format(time.DateOnly) + ": " + holds[0].Reason
	if more := len(holds) - 1; more > 0 {
		told += fmt.Sprintf(" (and %d more)", more)
	}
	return told
}
