package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// Door is the line of pg_hba.conf that lets base backups in.
type Door struct {
	Open bool   `json:"open"`           // a replication connection is taken already
	File string `json:"file,omitempty"` // that lacks Line
	Line string `json:"line,omitempty"`
	Why  string `json:"why,omitempty"` // Line can't be written by Lifeboat; or, without Line, nothing is known
}

// Door asks whether the server takes replication connections of this login and,
// when it does not, which line of pg_hba.conf would let them in: from the same address,
// by the method that lets the role into the database, when there is one alone.
func (s *Server) Door(ctx context.Context) (Door, error) {
	err := CheckReplication(ctx, s.login)
	if err == nil {
		return Door{Open: true}, nil
	}
	if fault.Has(err, fault.ServerUnavailable) && ctx.Err() == nil { // asked before it looks at pg_hba.conf
		return Door{Why: "no WAL sender is free: whether it lets base backups in is seen when max_wal_senders is in force"}, nil
	}
	if !fault.Has(err, fault.ServerRefused) {
		return Door{}, err
	}
	d := Door{File: s.facts.HBAFile}
	var address *netip.Addr
	var methods []string
	err = s.conn.QueryRow(ctx, `
SELECT inet_client_addr(), (
	SELECT coalesce(array_agg(DISTINCT auth_method), '{}') FROM pg_hba_file_rules
	WHERE error IS NULL AND auth_method <> 'reject' AND (type = 'local') = (inet_client_addr() IS NULL)
	  AND ('all' = ANY (database) OR current_database() = ANY (database)) AND ('all' = ANY (user_name) OR session_user = ANY (user_name)))`).Scan(&address, &methods)
	if err != nil {
		return Door{}, queryFault(ctx, "read client authentication of", s.String(), err)
	}
	role := pgx.Identifier{s.login.User()}.Sanitize()
	method := "<method>"
	if len(methods) == 1 {
		method = methods[0]
	} else {
		d.Why = fmt.Sprintf("%d methods let the role in: which of them is meant is not known", len(methods))
	}
	if address == nil {
		d.Line = fmt.Sprintf("local replication %s %s", role, method)
	} else {
		d.Line = fmt.Sprintf("host replication %s %s %s", role, netip.PrefixFrom(*address, address.BitLen()), method)
	}
	return d, nil
}

// OpenDoor adds the line to the server's pg_hba.conf, has the server read it, and
// sees that it helps; else the file is put back as it was. TargetRefused: the file is not
// the server's to have written.
func (s *Server) OpenDoor(ctx context.Context, d Door, dataDir string) error {
	const op = "open pg_hba.conf of"
	if d.Open || d.Line == "" {
		return nil
	}
	if d.Why != "" {
		return fault.Newf(fault.ServerSettings, op, s.String(), "%s", d.Why).WithHint("add to %s: %s; then run: SELECT pg_reload_conf()", d.File, d.Line)
	}
	account, err := OwnerOf(dataDir, "")
	if err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(d.File)
	if err != nil {
		return pathFault(op, d.File, err)
	}
	dir, err := openHBADir(filepath.Dir(path))
	if err != nil {
		return pathFault(op, path, err)
	}
	defer dir.close()
	was, err := dir.read(op, filepath.Base(path))
	if err != nil {
		return err
	}
	if was.fenced() {
		return fault.Newf(fault.TargetRefused, op, path, "a recovery fenced the server").WithHint("see docs/RUNBOOK.md, pg_hba.conf")
	}
	if err := dir.mayReplace(was, account.UID, filepath.Dir(s.facts.ConfigFile), dataDir); err != nil {
		return err
	}
	// First, so that no line before it decides otherwise; it is about this one role at this one address.
	body := append([]byte("# base backups of lifeboat\n"+d.Line+"\n"), was.body...)
	if err := dir.replace(was.name, body, was); err != nil {
		return err
	}
	if err := s.reload(ctx); err != nil {
		return err
	}
	refused := CheckReplication(ctx, s.login)
	if refused == nil {
		return nil
	}
	err = errors.Join(refused, dir.replace(was.name, was.body, was), s.reload(ctx))
	return fault.New(fault.ServerRefused, op, s.String(), err).WithHint("the line did not help, and the file is as it was: read the server's log")
}
