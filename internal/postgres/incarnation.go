package postgres

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

const restoreOp = "restore dump into"

// ownOID is of the database that a session is in, whatever has its name meanwhile.
const ownOID = `(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`

// incarnation is a database, and not another one that is made under its name later: an
// attempt to restore that was given up may go on when the next one has made it anew.
type incarnation struct {
	login Login // to the database
	name  string
	oid   uint32
}

// incarnation is what is restored into. TargetBusy: it is gone, and another one has its name.
func (o RestoreOptions) incarnation(ctx context.Context) (incarnation, error) {
	i := incarnation{login: o.Login.WithDatabase(o.Database), name: o.Database, oid: o.OID}
	if i.oid != 0 {
		return i, i.check(ctx)
	}
	conn, err := i.login.connect(ctx)
	if err != nil {
		return i, err
	}
	defer closeConn(ctx, conn)
	if err := conn.QueryRow(ctx, "SELECT "+ownOID).Scan(&i.oid); err != nil {
		return i, queryFault(ctx, restoreOp, i.String(), err)
	}
	return i, nil
}

func (i incarnation) String() string { return "database " + i.name }

// connect opens a session in it. TargetBusy: another one has its name.
func (i incarnation) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := i.login.connect(ctx)
	if err != nil {
		return nil, err
	}
	var oid uint32
	if err = conn.QueryRow(ctx, "SELECT "+ownOID).Scan(&oid); err != nil {
		err = queryFault(ctx, restoreOp, i.String(), err)
	} else if oid != i.oid {
		err = fault.Newf(fault.TargetBusy, restoreOp, i.String(), "it was made anew by another attempt")
	}
	if err != nil {
		closeConn(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// check fails as connect does.
func (i incarnation) check(ctx context.Context) error {
	conn, err := i.connect(ctx)
	if err == nil {
		closeConn(ctx, conn)
	}
	return err
}

// checkSQL fails in a session of another database.
func (i incarnation) checkSQL() string {
	return fmt.Sprintf("SELECT CASE WHEN oid <> %d THEN ('made anew by another attempt: ' || oid)::int END FROM %s AS own (oid)", i.oid, ownOID)
}

// run runs a program that connects to the database when it has read its input, and
// opens sessions as it likes. It gets its input once it is recorded and the database
// is the one then. Who drops a database, then ends what is recorded, and only then makes
// another one, has nothing of it in there.
func (i incarnation) run(ctx context.Context, config command.Config) (command.Result, error) {
	none := command.Result{Exit: -1}
	if err := i.check(ctx); err != nil {
		return none, err
	}
	gate := &gate{recorded: make(chan struct{}), refused: make(chan error, 1), check: func() error { return i.check(ctx) }, behind: config.Stdin}
	config.Stdin = gate
	program, err := command.New(config)
	if err != nil {
		return none, err
	}
	process, err := program.Start(ctx)
	close(gate.recorded)
	if err != nil {
		return none, err
	}
	result, err := process.Wait()
	select {
	case err = <-gate.refused:
	default:
	}
	return result, err
}

// gate is a program's input that it has to wait for.
type gate struct {
	recorded chan struct{}
	check    func() error
	checked  bool
	refused  chan error // by check
	behind   io.Reader
}

func (g *gate) Read(p []byte) (int, error) {
	<-g.recorded
	if !g.checked {
		if err := g.check(); err != nil {
			g.refused <- err
			return 0, err
		}
		g.checked = true
	}
	return g.behind.Read(p)
}
