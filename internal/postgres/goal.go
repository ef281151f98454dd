package postgres

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Goal is where a replay stops. At most one field is set; none is the end of the WAL.
type Goal struct {
	Time time.Time `json:"time,omitzero"`  // behind the last transaction that had ended by then
	LSN  LSN       `json:"lsn,omitempty"`  // before the first record at or behind it: all before it is in, nothing from it on
	Name string    `json:"name,omitempty"` // behind the first restore point of this name
}

// Open says whether the replay goes to the end of the WAL.
func (g Goal) Open() bool { return g == Goal{} }

// settings are recovery_target_… of the goal. The server pauses there, and is
// promoted by nobody but Lifeboat (manual, "Recovery Target"). The one that is set
// comes last: a server takes an empty one behind it for a second target.
func (g Goal) settings() [][2]string {
	settings := [][2]string{{"recovery_target_inclusive", "on"}, {"recovery_target_action", "pause"}}
	chosen := [2]string{"recovery_target", ""}
	switch {
	case !g.Time.IsZero():
		chosen = [2]string{"recovery_target_time", g.Time.UTC().Format("2006-01-02 15:04:05.999999+00")}
	case g.LSN != 0:
		settings[0][1] = "off"
		chosen = [2]string{"recovery_target_lsn", g.LSN.String()}
	case g.Name != "":
		chosen = [2]string{"recovery_target_name", g.Name}
	}
	for _, name := range []string{"recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_xid"} {
		if name != chosen[0] {
			settings = append(settings, [2]string{name, ""})
		}
	}
	return append(settings, chosen)
}

// String tells the goal as recovery_target_… does.
func (g Goal) String() string {
	switch {
	case !g.Time.IsZero():
		return "time " + g.Time.UTC().Format(time.RFC3339Nano)
	case g.LSN != 0:
		return "position " + g.LSN.String()
	case g.Name != "":
		return "restore point " + g.Name
	}
	return "end of the WAL"
}

// stands says whether a paused server stands at its goal: its log tells.
func (i *Instance) stands() (bool, error) {
	if i.config.Goal.Open() {
		return false, nil
	}
	log, err := i.log()
	return strings.Contains(log, "LOG:  recovery stopping ") && strings.Contains(log, "LOG:  pausing at the end of recovery"), err
}

// endedBefore is the end of the WAL before the goal. PostgreSQL's own word for it
// is "recovery ended before configured recovery target was reached".
func (i *Instance) endedBefore(at LSN) error {
	return fault.Newf(fault.WALShort, "replay in", i.String(), "WAL ends at %s, before the %s was reached", at, i.config.Goal).
		WithHint("the server was not promoted; see what can be gone back to with: lifeboat window database")
}

// unreachable tells why a server with a goal ended for good; starting it again would end alike.
func (i *Instance) unreachable() error {
	if i.config.Goal.Open() {
		return nil
	}
	log, err := i.log()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has never run
	case err != nil:
		return err
	case strings.Contains(log, "requested recovery stop point is before consistent recovery point"):
		return fault.Newf(fault.PointUnreachable, "replay in", i.String(), "the %s lies before the end of the base backup", i.config.Goal).
			WithHint("the clocks of the server and of the host that took the backup differ: choose an older backup, besides the point: --to backup:KEY")
	case strings.Contains(log, "recovery ended before configured recovery target was reached"):
		return fault.Newf(fault.WALShort, "replay in", i.String(), "WAL ends before the %s was reached", i.config.Goal).
			WithHint("the server was not promoted; see what can be gone back to with: lifeboat window database")
	}
	return nil
}

// promotedItself is a staged server that is no standby any more. One that can
// answer nobody does not pause at its goal, but goes on as a primary.
func (i *Instance) promotedItself() error {
	if !i.config.Goal.Open() {
		return i.noAnswerThere()
	}
	return fault.Newf(fault.ServerFailed, "replay in", i.String(), "it was promoted by someone else").
		WithHint("discard this staging directory and start the recovery again")
}

func (i *Instance) noAnswerThere() error {
	return fault.Newf(fault.PointUnreachable, "replay in", i.String(), "the server can't answer at the %s, and would not stop there", i.config.Goal).
		WithHint("a transaction with more than 64 subtransactions was open then: choose a moment after it had ended, or before it began")
}
