package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

func probeSQL(c system.Check, d system.Database, secret func(system.SecretRef) ([]byte, error)) probe {
	return func(ctx context.Context) (string, error) {
		config, err := sqlConfig(d, secret)
		if err != nil {
			return "", err
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return "", spoken(err)
		}
		defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // read-only, and the answer is known by then
		rows, err := conn.Query(ctx, c.SQL)
		if err != nil {
			return "", spoken(err)
		}
		value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[any])
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return "", errors.New("no row")
		case err != nil:
			return "", spoken(err)
		case value != true:
			return "", fmt.Errorf("it gave %v, not true", value)
		}
		return "true", nil
	}
}

// sqlConfig is the configured connection, to the database inside the cluster,
// in which nothing can be changed.
func sqlConfig(d system.Database, secret func(system.SecretRef) ([]byte, error)) (*pgx.ConnConfig, error) {
	connection, err := secret(d.Connection)
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(string(connection))
	if err != nil {
		// The parser's error repeats parts of the connection string.
		return nil, fault.Newf(fault.ConfigInvalid, "connect to database", d.Name, "its connection string can't be read").
			WithHint("correct what %s holds", d.Connection)
	}
	if d.Database != "" {
		config.Database = d.Database
	}
	if d.Host != "" {
		config.Host = d.Host
	}
	if d.Port != 0 {
		config.Port = uint16(d.Port)
	}
	for _, fallback := range config.Fallbacks {
		if d.Host != "" {
			fallback.Host = d.Host
		}
		if d.Port != 0 {
			fallback.Port = uint16(d.Port)
		}
	}
	config.RuntimeParams["default_transaction_read_only"] = "on"
	config.RuntimeParams["application_name"] = "lifeboat check"
	return config, nil
}

// spoken is the server's own message, when the server has answered.
func spoken(err error) error {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (SQLSTATE %s)", said.Message, said.Code)
	}
	return err
}

func probeRedis(c system.Cache, secret func(system.SecretRef) ([]byte, error)) probe {
	return func(ctx context.Context) (string, error) {
		var password []byte
		if !c.Password.Empty() {
			var err error
			if password, err = secret(c.Password); err != nil {
				return "", err
			}
		}
		client := redis.NewClient(&redis.Options{
			Addr: c.Address, Username: c.Username, Password: string(password),
			MaxRetries: -1, PoolSize: 1, DisableIdentity: true, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		defer client.Close()
		// PING is answered with an error while the server loads its data.
		answer, err := client.Ping(ctx).Result()
		if err != nil {
			return "", err
		}
		return answer, nil
	}
}

func probeCommand(c system.Check) probe {
	return func(ctx context.Context) (string, error) {
		_, err := command.Run(ctx, command.Config{Argv: c.Command})
		if failed, ok := errors.AsType[*fault.Error](err); ok && failed.Kind == fault.CommandFailed {
			return "", fmt.Errorf("%s: %w", failed.Subject, failed.Cause)
		}
		if err != nil {
			return "", err
		}
		return "exit status 0", nil
	}
}
