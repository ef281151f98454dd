package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

// beat is how often a step that waits for a program says that it lives.
const beat = 2 * time.Second

// Deps are what the activities need of their host.
type Deps struct {
	Control *service.Control
	Secret  func(system.SecretRef) ([]byte, error) // reads a secret on this host
	Env     []string                               // environment of migrations; nil: command.Base()
}

// Activities stop, start and migrate.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// Status looks at every service and changes none. It fails with ConfigInvalid
// when this host could not start or stop one of them.
func (a *Activities) Status(ctx context.Context, in StatusInput) (Result, error) {
	return a.each(ctx, in.Services, func(_ context.Context, s system.Service) (bool, error) { return false, a.deps.Control.Check(s) })
}

// Stop stops the services, the last first. When one does not stop, those
// before it are left as they are.
func (a *Activities) Stop(ctx context.Context, in StopInput) (Result, error) {
	backwards := slices.Clone(in.Services)
	slices.Reverse(backwards)
	return a.each(ctx, backwards, a.deps.Control.Stop)
}

// Start starts the services in order, each when the one before it runs.
func (a *Activities) Start(ctx context.Context, in StartInput) (Result, error) {
	return a.each(ctx, in.Services, a.deps.Control.Start)
}

// each acts on one service after the other and notes what it found then.
func (a *Activities) each(ctx context.Context, services []system.Service, act func(context.Context, system.Service) (bool, error)) (Result, error) {
	result := Result{Services: []Outcome{}}
	note, stop := heartbeats(ctx)
	defer stop()
	for _, s := range services {
		started := time.Now()
		changed, err := act(ctx, s)
		if err != nil {
			return result, err
		}
		state, err := a.deps.Control.Status(ctx, s)
		if err != nil {
			return result, err
		}
		result.Services = append(result.Services, Outcome{Name: s.Name, State: string(state), Changed: changed, Took: since(started)})
		note(Result{Services: slices.Clone(result.Services)})
	}
	return result, nil
}

// Migrate runs a migration. It may have run before, in part or whole: a
// migration tool knows what it has done. The database's address and credentials
// are in PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and PGSSLMODE, which
// libpq and most drivers read by themselves. It fails with MigrationFailed.
func (a *Activities) Migrate(ctx context.Context, in MigrateInput) (MigrateResult, error) {
	started := time.Now()
	result := MigrateResult{Name: in.Migration.Name}
	env, secrets, err := a.connection(in.Database)
	if err != nil {
		return result, err
	}
	_, stop := heartbeats(ctx)
	defer stop()
	limited := ctx
	if in.Migration.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, time.Duration(in.Migration.Timeout))
		defer cancel()
	}
	base := a.deps.Env
	if base == nil {
		base = command.Base()
	}
	_, err = command.Run(limited, command.Config{
		Argv: in.Migration.Command, Dir: in.Migration.Dir, Env: append(slices.Clone(base), env...), Secrets: secrets,
	})
	if failed, ok := errors.AsType[*fault.Error](err); ok && failed.Kind == fault.CommandFailed {
		return result, fault.New(fault.MigrationFailed, "migrate", in.Migration.Name, fmt.Errorf("%s: %w", failed.Subject, failed.Cause))
	}
	result.Took = since(started)
	return result, err
}

// connection gives a database's connection as environment, and what of it is secret.
func (a *Activities) connection(d system.Database) (env, secrets []string, err error) {
	if d.Connection.Empty() {
		return nil, nil, nil
	}
	text, err := a.deps.Secret(d.Connection)
	if err != nil {
		return nil, nil, err
	}
	config, err := pgx.ParseConfig(string(text))
	if err != nil {
		// The parser's error repeats parts of the connection string.
		return nil, nil, fault.Newf(fault.ConfigInvalid, "connect to database", d.Name, "its connection string can't be read").
			WithHint("correct what %s holds", d.Connection)
	}
	host, port, name := config.Host, config.Port, config.Database
	if d.Host != "" {
		host = d.Host
	}
	if d.Port != 0 {
		port = uint16(d.Port)
	}
	if d.Database != "" {
		name = d.Database
	}
	env = []string{"PGHOST=" + host, "PGPORT=" + strconv.Itoa(int(port)), "PGUSER=" + config.User, "PGDATABASE=" + name}
	if config.TLSConfig != nil && len(config.Fallbacks) == 0 {
		env = append(env, "PGSSLMODE=require")
	}
	if config.Password != "" {
		env = append(env, "PGPASSWORD="+config.Password)
		secrets = append(secrets, config.Password, string(text))
	}
	return env, secrets, nil
}

// heartbeats says that the activity lives, with the details last noted, until
// stop is called.
func heartbeats(ctx context.Context) (note func(details any), stop func()) {
	notes, done, ended := make(chan any), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		var details []any
		for {
			select {
			case <-done:
				return
			case noted := <-notes:
				details = []any{noted}
			case <-ticker.C:
			}
			activity.RecordHeartbeat(ctx, details...)
		}
	}()
	return func(details any) { notes <- details }, func() { close(done); <-ended }
}

func since(started time.Time) system.Duration {
	return system.Duration(time.Since(started).Round(time.Millisecond))
}
