package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// quiet are the settings under which a copy of production does nothing outside of
// itself once it is a primary: it archives and replicates nothing, waits for no
// standby, and no job scheduler of production's wakes up in it.
func quiet() [][2]string {
	return [][2]string{
		{"archive_mode", "off"},
		{"primary_conninfo", ""},
		{"primary_slot_name", ""},
		{"synchronous_standby_names", ""},
		{"max_logical_replication_workers", "0"}, // no subscription pulls from a publisher
		{"cron.launch_active_jobs", "off"},       // of pg_cron, where it is
	}
}

// PromoteCopy makes the staged server a primary that nobody but its owner and root
// reaches, so that what writes can be asked of it, too. It has to be Quiet, is a
// copy to be thrown away, and stays what it was: production's archive and
// timelines know nothing of it. lsn is what it has to have replayed. It may be called again.
func (i *Instance) PromoteCopy(ctx context.Context, lsn LSN) (Login, error) {
	if !i.config.Quiet {
		return Login{}, fault.Newf(fault.TargetRefused, "promote", i.String(), "it was not started as a copy to be thrown away")
	}
	login, err := i.Login(alwaysThere)
	if err != nil {
		return Login{}, err
	}
	_, err = os.Stat(filepath.Join(i.config.DataDir, "standby.signal"))
	if errors.Is(err, fs.ErrNotExist) { // it was promoted, and may have crashed since
		_, err := AwaitServer(ctx, login, copyTime)
		return login, err
	}
	if _, err := i.WaitReplayed(ctx, lsn, nil); err != nil {
		return Login{}, err
	}
	if i.Mute() {
		return Login{}, fault.Newf(fault.Unsupported, "promote", i.String(), "it answers nobody: a transaction with more than 64 subtransactions was open at the end of the WAL").
			WithHint("choose another backup, or a point at which that transaction had ended")
	}
	server, err := Connect(ctx, login)
	if err != nil {
		return Login{}, err
	}
	defer server.Close(ctx)
	if !server.facts.InRecovery {
		return login, nil
	}
	left, err := value[bool](ctx, server, "SELECT pg_promote(true, $1)", promoteTime)
	if err == nil && !left {
		err = fault.Newf(fault.ServerFailed, "promote", i.String(), "it did not leave recovery within %d s", promoteTime)
	}
	return login, err
}

// DatabaseExtension is an extension that a database of a cluster has.
type DatabaseExtension struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Version  string `json:"version"`
}

// Extensions lists those of every database that can be connected to, and which of them this
// host has no files for in just their version.
func (s *Server) Extensions(ctx context.Context) (all, missing []DatabaseExtension, err error) {
	names, err := s.databases(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, database := range names {
		conn, err := s.login.WithDatabase(database).connect(ctx)
		if err != nil {
			return nil, nil, err
		}
		rows, err := conn.Query(ctx, `SELECT extname, extversion,
			EXISTS (SELECT 1 FROM pg_available_extension_versions a WHERE a.name = e.extname AND a.version = e.extversion) FROM pg_extension e ORDER BY 1`)
		if err == nil {
			var one DatabaseExtension
			var here bool
			_, err = pgx.ForEachRow(rows, []any{&one.Name, &one.Version, &here}, func() error {
				one.Database = database
				all = append(all, one)
				if !here {
					missing = append(missing, one)
				}
				return nil
			})
		}
		closeConn(ctx, conn)
		if err != nil {
			return nil, nil, queryFault(ctx, "list extensions of", "database "+database, err)
		}
	}
	return all, missing, nil
}

// RelationsConfig says which copy is checked, and with what.
type RelationsConfig struct {
	BinDir  string
	DataDir string // of the copy: what is left of a check that was cut off is ended with its server
	Socket  string // directory
	Owner   Account
	Log     string
}

// What pg_amcheck says of a relation, in the C locale: `heap table "db.schema.name", block 7, offset 3:` and the reason on the line behind.
var badRelation = regexp.MustCompile(`(?m)^((?:heap table|btree index) "[^\n]+):\n\s*(?:ERROR:\s*)?([^\n]+)`)

// CheckRelations looks into every table and every B-tree index of every database
// of a promoted copy (pg_amcheck, with what indexes hold compared with their
// tables). It fails with VerificationFailed, which names the first relation that
// is damaged, and with ServerSettings when this host has no amcheck.
func (s *Server) CheckRelations(ctx context.Context, c RelationsConfig) error {
	const op = "check relations of"
	available, err := value[bool](ctx, s, "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck')")
	if err != nil {
		return err
	}
	if !available {
		return fault.Newf(fault.ServerSettings, op, s.String(), "this host has no extension amcheck").
			WithHint("install PostgreSQL's contrib modules on the worker's host, in the server's major version")
	}
	program, err := command.New(command.Config{
		Argv: []string{
			filepath.Join(c.BinDir, "pg_amcheck"), "--all", "--install-missing", "--heapallindexed", "--parent-check", "--jobs", "2",
			"--host", c.Socket, "--port", socketPortText(), "--username", s.facts.Login, "--no-password",
		},
		Env: cLocale(), Dir: c.DataDir, User: c.Owner.Name, Log: c.Log, Capture: 1 << 20,
	})
	if err != nil {
		return err
	}
	result, err := program.Run(ctx)
	if err == nil || ctx.Err() != nil || !fault.Has(err, fault.CommandFailed) {
		return err
	}
	found := badRelation.FindSubmatch(result.Stdout)
	if found == nil {
		return err
	}
	return fault.Newf(fault.VerificationFailed, op, s.String(), "%s: %s", found[1], strings.TrimSpace(string(found[2]))).
		WithHint("do not use this backup; run pg_amcheck at the source, which may be damaged, too")
}
