package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StageConfig says what a restored directory is made ready for.
type StageConfig struct {
	DataDir     string // restored, complete, used by no server
	Owner       Account
	Tablespaces []Link // where the restored tablespaces lie
}

// tablespaceMap is the file from which a server takes its tablespace links when
// it starts from a base backup.
const tablespaceMap = "tablespace_map"

// Stage makes a restored directory ready to be started as a standby, and as
// nothing else. It may be called again. What belongs to one start only (the
// private socket, no archiving, restore_command) is given to the server on its
// command line by StartInstance and leaves no trace in the directory.
func Stage(c StageConfig) error {
	if err := os.Chmod(c.DataDir, 0o700); err != nil {
		return pathFault("stage", c.DataDir, err)
	}
	for _, name := range []string{"recovery.signal", "postmaster.opts"} {
		if err := os.Remove(filepath.Join(c.DataDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return pathFault("stage", c.DataDir, err)
		}
	}
	if err := c.Owner.place(filepath.Join(c.DataDir, "standby.signal"), nil, 0o600); err != nil {
		return err
	}
	if err := LinkTablespaces(c.DataDir, c.Owner, c.Tablespaces); err != nil {
		return err
	}
	path := filepath.Join(c.DataDir, tablespaceMap)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil // no tablespaces, or the first start has used it up
	} else if err != nil {
		return pathFault("stage", path, err)
	}
	// One line per link; a backslash precedes what would end a line (backup_manifest
	// knows the old content, so the directory is verified before it is staged).
	var lines strings.Builder
	for _, link := range c.Tablespaces {
		fmt.Fprintf(&lines, "%d %s\n", link.OID, strings.NewReplacer(`\`, `\\`, "\n", "\\\n", "\r", "\\\r").Replace(link.Location))
	}
	return c.Owner.place(path, []byte(lines.String()), 0o600)
}

// Markers around what Lifeboat adds to postgresql.auto.conf.
const (
	autoConf  = "postgresql.auto.conf"
	markBegin = "# lifeboat recovery: removed when the server is promoted"
	markEnd   = "# end of lifeboat recovery"
)

// recoverySettings are those that decide where recovery goes, in the order in
// which they are written and later reset.
func recoverySettings(timeline uint32, goal Goal, restoreCommand string) [][2]string {
	settings := [][2]string{
		{"restore_command", restoreCommand},
		{"recovery_target_timeline", fmt.Sprint(timeline)},
	}
	settings = append(settings, goal.settings()...)
	return append(settings, [][2]string{
		{"recovery_min_apply_delay", "0"},
		{"recovery_end_command", ""},
		{"archive_cleanup_command", ""},
		{"primary_conninfo", ""},
		{"primary_slot_name", ""},
		{"hot_standby", "on"},
	}...)
}

// Handover writes into the directory what its own service needs to start it as
// a standby, pinned to the timeline and the goal, until Promote: a staged server must
// be stopped, and control is what its control file says since. It may be called again.
func Handover(dataDir string, owner Account, control Control, timeline uint32, goal Goal, restoreCommand string) error {
	path := filepath.Join(dataDir, autoConf)
	body, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return pathFault("read", path, err)
	}
	kept := withoutBlock(string(body))
	var b strings.Builder
	b.WriteString(kept)
	if kept != "" && !strings.HasSuffix(kept, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString(markBegin + "\n")
	for _, setting := range append(recoverySettings(timeline, goal, restoreCommand), control.missingFrom(kept)...) {
		fmt.Fprintf(&b, "%s = %s\n", setting[0], quoteSetting(setting[1]))
	}
	b.WriteString(markEnd + "\n")
	if err := owner.place(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return owner.place(filepath.Join(dataDir, "standby.signal"), nil, 0o600)
}

// withoutBlock takes an earlier block out of the settings.
func withoutBlock(body string) string {
	before, rest, found := strings.Cut(body, markBegin+"\n")
	if !found {
		return body
	}
	_, after, found := strings.Cut(rest, markEnd+"\n")
	if !found {
		return before
	}
	return before + after
}

// block is what an earlier Handover has added to the settings.
func block(body string) string {
	_, rest, _ := strings.Cut(body, markBegin+"\n")
	added, _, _ := strings.Cut(rest, markEnd+"\n")
	return added
}

// quoteSetting writes a value as postgresql.conf takes it.
func quoteSetting(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(value) + "'"
}
