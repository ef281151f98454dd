package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/fault"
)

// connectTime bounds one attempt to reach a server, when the connection string
// sets no connect_timeout of its own.
const connectTime = 10 * time.Second

// Login is where a server is and who asks it. It may hold a password, so it
// shows nothing of itself but the address.
type Login struct {
	config *pgx.ConnConfig
	others []*pgx.ConnConfig // tried in turn when the server refuses the one before
}

// LoginOptions change parts of a connection string. Zero values change nothing.
type LoginOptions struct {
	Host     string
	Port     int
	Database string
}

// NewLogin reads a connection string or URL. It fails with ConfigInvalid, and
// repeats nothing of what it was given.
func NewLogin(dsn string, o LoginOptions) (Login, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Login{}, fault.Newf(fault.ConfigInvalid, "read", "connection string", "it is neither a URL nor a list of key=value").
			WithHint("write postgres://user:password@host:port/database into the secret that connection names")
	}
	if o.Host != "" {
		config.Host, config.Fallbacks = o.Host, nil
	}
	if o.Port != 0 {
		config.Port, config.Fallbacks = uint16(o.Port), nil
	}
	if o.Database != "" {
		config.Database = o.Database
	}
	return newLogin(config), nil
}

// socketLogin reaches a server over its private socket directory, as the first
// role that it lets in. Empty names are none. Where database is the one that is
// always there, the other such one will do.
func socketLogin(dir string, port uint16, roles []string, database string) (Login, error) {
	databases := []string{database}
	if database == alwaysThere {
		databases = append(databases, thereToo)
	}
	var login Login
	for _, role := range roles {
		for _, name := range databases {
			one, err := roleLogin(dir, port, role, name)
			switch {
			case err != nil:
				return Login{}, err
			case login.config == nil:
				login = one
			case role != "":
				login.others = append(login.others, one.config)
			}
		}
	}
	return login, nil
}

func roleLogin(dir string, port uint16, user, database string) (Login, error) {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return Login{}, fault.New(fault.ConfigInvalid, "read", "connection defaults", err)
	}
	config.Host, config.Port, config.User, config.Database, config.Password = dir, port, user, database, ""
	config.Fallbacks = nil
	return newLogin(config), nil
}

func newLogin(config *pgx.ConnConfig) Login {
	config.RuntimeParams["application_name"] = "lifeboat"
	// What roles, databases or postgresql.conf say of sessions is meant for the
	// application's: a standby takes no serializable transaction at all.
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.RuntimeParams["statement_timeout"] = "0"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTime
	}
	return Login{config: config}
}

// String is the server's address.
func (l Login) String() string {
	if l.config == nil {
		return "postgresql at an unknown address"
	}
	return describe(l.config.Host, l.config.Port)
}

// GoString hides what %#v would show.
func (l Login) GoString() string { return l.String() }

// Format hides what any verb would show.
func (l Login) Format(s fmt.State, _ rune) {
	// fmt itself has nowhere to report a failed write either.
	_, _ = s.Write([]byte(l.String()))
}

// MarshalJSON keeps a Login out of payloads and logs.
func (l Login) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", l.String()), nil }

// User is the role that logs in.
func (l Login) User() string { return l.config.User }

// WithDatabase is the same login to another database of the cluster.
func (l Login) WithDatabase(name string) Login {
	named := Login{config: l.config.Copy()}
	named.config.Database = name
	for _, other := range l.others {
		other = other.Copy()
		other.Database = name
		named.others = append(named.others, other)
	}
	return named
}

// connect opens a connection for SQL.
func (l Login) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err == nil {
		return conn, nil
	}
	refused := connectFault(ctx, l, err)
	for _, other := range l.others {
		if !fault.Has(refused, fault.ServerRefused) && !fault.Has(refused, fault.ServerSettings) {
			break
		}
		conn, err := pgx.ConnectConfig(ctx, other)
		if err == nil {
			return conn, nil
		}
		if failed := connectFault(ctx, l, err); fault.Has(failed, fault.ServerUnavailable) {
			return nil, failed
		}
	}
	return nil, refused
}

// connectReplication opens a connection that speaks the replication protocol.
func (l Login) connectReplication(ctx context.Context) (*pgconn.PgConn, error) {
	config := l.config.Config.Copy()
	config.RuntimeParams["replication"] = "yes"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectFault(ctx, l, err)
	}
	return conn, nil
}

// SQLSTATE codes and classes (PostgreSQL manual, appendix A).
const (
	stateInvalidAuthorization = "28000"
	stateInvalidPassword      = "28P01"
	stateUnknownDatabase      = "3D000"
	stateNotPermitted         = "42501"
	stateNotInState           = "55000"
	stateDamaged              = "XX001"
	stateTooLong              = "57014" // statement_timeout
	stateStarting             = "57P03"
	stateLockNotAvailable     = "55P03"
	stateDeadlock             = "40P01"
	classShutdown             = "57P"
	classResources            = "53"
	classWrong                = "42" // syntax errors, unknown names
)

// noLocale is what a server says, with no code of its own, of a database that was made
// under a locale which its host does not have.
const noLocale = "locale is incompatible with operating system"

// connectFault names why a connection could not be made. The driver's error
// holds no password, but more words than are wanted: only its cause is kept.
func connectFault(ctx context.Context, l Login, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.ServerUnavailable, "connect to", l.String(), ctx.Err())
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return sayFault("connect to", l.String(), said)
	}
	if connecting, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = connecting.Unwrap()
	}
	return fault.New(fault.ServerUnavailable, "connect to", l.String(), err)
}

// answer is an error as the server told it, without what may hold data.
type answer struct{ text, code string }

func (a *answer) Error() string { return fmt.Sprintf("%s (SQLSTATE %s)", a.text, a.code) }

// sayFault names what the server itself said.
func sayFault(op, subject string, said *pgconn.PgError) error {
	cause := &answer{text: said.Message, code: said.Code}
	switch {
	case said.Code == stateInvalidAuthorization, said.Code == stateInvalidPassword:
		return fault.New(fault.ServerRefused, op, subject, cause).
			WithHint("check the role and password of the connection, and pg_hba.conf of the server, for replication connections too")
	case strings.Contains(said.Message, noLocale):
		return fault.New(fault.LocaleMismatch, op, subject, &answer{text: said.Message + ": " + said.Detail, code: said.Code}).
			WithHint("install the locale on this host (locale-gen, and its language pack), then begin again")
	case said.Code == stateUnknownDatabase:
		return fault.New(fault.ServerRefused, op, subject, cause).WithHint("name a database that exists in the connection")
	case said.Code == stateNotPermitted:
		return fault.New(fault.ServerRefused, op, subject, cause).WithHint("connect as a superuser")
	case said.Code == stateNotInState:
		return fault.New(fault.ServerSettings, op, subject, cause)
	case len(said.Code) == 5 && said.Code[:3] == classShutdown, len(said.Code) == 5 && said.Code[:2] == classResources:
		return fault.New(fault.ServerUnavailable, op, subject, cause)
	default:
		return fault.New(fault.ServerFailed, op, subject, cause)
	}
}

// pgError is what the server itself said, or nil.
func pgError(err error) *pgconn.PgError {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said
	}
	return nil
}

// queryFault names why a statement failed.
func queryFault(ctx context.Context, op, subject string, err error) error {
	if fault.KindOf(err) != "" {
		return err
	}
	if ctx.Err() != nil {
		return fault.New(fault.ServerUnavailable, op, subject, ctx.Err())
	}
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return sayFault(op, subject, said)
	}
	return fault.New(fault.ServerUnavailable, op, subject, err)
}
