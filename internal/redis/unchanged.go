package redis

import (
	"fmt"
	"time"
)

// Mark is where a server's data set stood when an RDB was taken of it. With it
// one can tell later whether anything has changed since.
type Mark struct {
	RunID    string    `json:"run_id"`    // of the server process
	ReplID   string    `json:"repl_id"`   // of its data set's history: another one after a failover
	LastSave time.Time `json:"last_save"` // of the save that made the RDB, to the second
	Saves    int64     `json:"saves"`     // of the process, that one included; 0: a server before 7.0 does not count them
	Evicted  int64     `json:"evicted"`   // keys, before the fork: evictions are no changes to Redis
	Keys     int64     `json:"keys"`      // right after the fork …
	Expired  int64     `json:"expired"`   // … and how many had run out by then, since the process started
}

// mark reads it from what the server said before the fork, after it, and when the save was done.
func mark(before, after, saved info) Mark {
	keys, _, _ := after.keyspace()
	return Mark{
		RunID: saved["run_id"], ReplID: saved["master_replid"], LastSave: time.Unix(saved.number("rdb_last_save_time"), 0).UTC(),
		Saves: saved.number("rdb_saves"), Evicted: before.number("evicted_keys"), Keys: keys, Expired: after.number("expired_keys"),
	}
}

// Changed says what may have changed since the RDB of m was taken; "" when
// nothing has, so that the RDB still equals the server. Keys that ran out in between
// don't count: they run out in a restored server, too.
//
// The change counter starts anew with every save, and the time of a save has no
// finer unit than a second, so the counted saves decide; a server that does not
// count them has always changed. FLUSHALL saves and counts neither that nor itself
// (tried on 7.0.15), so that every key must be there or have run out. A replica has always
// changed: a full resynchronization replaces its data and counts as nothing.
func (f Facts) Changed(m Mark) string {
	now := f.Mark
	switch {
	case m.RunID == "" || m.Saves == 0:
		return "the server does not count its saves"
	case f.Loading:
		return "the server is loading its data"
	case f.Role != "master":
		return "the server is a replica"
	case now.RunID != m.RunID:
		return "the server was restarted"
	case now.ReplID != m.ReplID:
		return "the server has other data since a failover"
	case now.Saves != m.Saves || !now.LastSave.Equal(m.LastSave):
		return "the server has saved since, which resets its counter of changes"
	case f.Changes != 0:
		return fmt.Sprintf("%d changes", f.Changes)
	case now.Evicted != m.Evicted:
		return "keys were evicted"
	case now.Keys+now.Expired != m.Keys+m.Expired:
		return fmt.Sprintf("%d keys instead of %d, and %d ran out", now.Keys, m.Keys, now.Expired-m.Expired)
	default:
		return ""
	}
}
