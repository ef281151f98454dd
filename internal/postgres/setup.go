package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// What Setup asks for.
const (
	QuietArchive  = time.Minute     // archive_timeout that it sets
	quietMost     = 2 * time.Minute // the longest that it leaves as it is
	sendersFree   = 2               // one for the base backup and one for whoever follows
	sendersNormal = 10
)

// Wanted is what a server's settings are held against.
type Wanted struct {
	Command string        // archive_command; it ends with "wal-push %p" and its flags
	RPO     time.Duration // what may be lost; archive_timeout is not longer
	Replace bool          // another program that archives now makes way
}

// SettingState says what is to be done about a setting.
type SettingState string

// States of a setting.
const (
	SettingKept    SettingState = "kept"    // it is as it has to be
	SettingChange  SettingState = "change"  // Setup changes it
	SettingPending SettingState = "pending" // it is changed, and takes effect with a restart
	SettingRefused SettingState = "refused" // Setup must not change it: Why says what a person has to decide
)

// Setting is one setting as it is and as it has to be.
type Setting struct {
	Name    string       `json:"name"`
	Before  string       `json:"before"` // in force now
	After   string       `json:"after"`
	State   SettingState `json:"state"`
	Restart bool         `json:"restart,omitempty"` // it takes effect with a restart
	Why     string       `json:"why,omitempty"`
}

// found is what the server says of a setting.
type found struct {
	Value   string
	Source  string
	File    string // what the files say, or the default: a restart makes it true
	Restart bool   // it takes effect with a restart alone
}

const settingSQL = `
SELECT s.setting, s.source,
       coalesce((SELECT f.setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY f.seqno DESC LIMIT 1), s.boot_val, ''),
       s.context = 'postmaster'
FROM pg_settings s WHERE s.name = $1`

// Settings tells each setting that archiving and base backups need, in the order
// in which they are to be changed. A standby is ServerSettings: it archives nothing.
func (s *Server) Settings(ctx context.Context, w Wanted) ([]Setting, error) {
	if s.facts.InRecovery {
		return nil, fault.Newf(fault.ServerSettings, "set up", s.String(), "it is a standby").
			WithHint("name the primary server in the connection")
	}
	archiver, err := s.Archiver(ctx)
	if err != nil {
		return nil, err
	}
	archiving := s.facts.ArchiveMode
	var all []Setting
	for _, one := range []struct {
		name string
		want func(value string) string // what it has to be, the value itself when it is well
	}{
		{"wal_level", func(value string) string {
			if value == "minimal" {
				return "replica"
			}
			return value
		}},
		{"max_wal_senders", func(value string) string {
			if atLeast(value, strconv.Itoa(archiver.Sending+sendersFree)) {
				return value
			}
			return strconv.Itoa(max(sendersNormal, archiver.Sending+sendersFree))
		}},
		{"archive_mode", func(value string) string {
			if value == "off" {
				return "on"
			}
			return value
		}},
		{"archive_library", func(string) string { return "" }},
		{"archive_command", func(value string) string {
			if pushesWAL(value) {
				return value
			}
			return w.Command
		}},
		{"archive_timeout", func(value string) string {
			seconds, err := strconv.Atoi(value)
			if most := min(quietMost, w.RPO); err == nil && seconds > 0 && time.Duration(seconds)*time.Second <= most {
				return value
			}
			return strconv.Itoa(int(min(QuietArchive, max(w.RPO, time.Second)).Seconds()))
		}},
	} {
		f := found{}
		row := s.conn.QueryRow(ctx, settingSQL, one.name)
		if err := row.Scan(&f.Value, &f.Source, &f.File, &f.Restart); err != nil {
			return nil, queryFault(ctx, "read setting of", s.String(), err)
		}
		if f.Value == disabled { // it is not called, whatever it is
			f.Value = f.File
		}
		setting := Setting{Name: one.name, Before: f.Value, After: one.want(f.Value), State: SettingKept, Restart: f.Restart}
		setting.judge(f, one.want, w.Replace || archiving == "off")
		all = append(all, setting)
	}
	return all, nil
}

// disabled is what a server says of its archive_command while archive_mode is off.
const disabled = "(disabled)"

// judge says what is to be done.
func (s *Setting) judge(f found, want func(string) string, replace bool) {
	switch {
	case s.Before == s.After && want(f.File) == f.File:
	case f.Restart && f.File != f.Value && want(f.File) == f.File:
		s.After, s.State = f.File, SettingPending
	case f.Source == "command line":
		s.State, s.Why = SettingRefused, "it is given on the server's command line, which ALTER SYSTEM does not change: change it where the server is started"
	case (s.Name == "archive_library" || s.Name == "archive_command") && s.Before != "" && !replace:
		s.State, s.Why = SettingRefused, "another program archives: find out who counts on it, then let it make way with --replace"
	default:
		s.State = SettingChange
	}
}

// pushesWAL says whether an archive_command is Lifeboat's.
func pushesWAL(command string) bool { return strings.Contains(command, "wal-push") }

// Apply writes the settings that are to be changed with ALTER SYSTEM, and has the
// server read them. It restarts nothing. One that is refused keeps all others
// from being written: some of them keep a server from starting without the rest.
func (s *Server) Apply(ctx context.Context, all []Setting) error {
	for _, setting := range all {
		if setting.State == SettingRefused {
			return fault.Newf(fault.ServerSettings, "set "+setting.Name+" on", s.String(), "%s", setting.Why)
		}
	}
	changed := false
	for _, setting := range all {
		if setting.State != SettingChange {
			continue
		}
		// A literal of the server's own making: ALTER SYSTEM takes no parameters.
		literal, err := value[string](ctx, s, "SELECT quote_literal($1)", setting.After)
		if err != nil {
			return err
		}
		if err := s.execute(ctx, fmt.Sprintf("ALTER SYSTEM SET %s = %s", pgx.Identifier{setting.Name}.Sanitize(), literal)); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return s.reload(ctx)
}

// reload has the server read its files, and returns when this session has seen it.
func (s *Server) reload(ctx context.Context) error {
	before, err := value[time.Time](ctx, s, "SELECT pg_conf_load_time()")
	if err != nil {
		return err
	}
	if err := s.execute(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	for {
		now, err := value[time.Time](ctx, s, "SELECT pg_conf_load_time()")
		if err != nil {
			return err
		}
		if now.After(before) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.ServerFailed, "reload settings of", s.String(), ctx.Err())
		case <-poll.C:
		}
	}
}

const reloadTime = 10 * time.Second
