package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

const (
	deadlockDetected = "40P01"
	mostTries        = 20
)

// tableName is a name that needs no quotes.
var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// wreckTable drops a table as the application's own role, with what refers to
// it, as somebody does who is in the wrong window.
func wreckTable(ctx context.Context, l *lab.Lab, args []string) (done damage, err error) {
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	config := flags.String("config", "", "directory of Frende's configuration files")
	table := flags.String("table", "", "name of the table")
	if err := flags.Parse(args); err != nil {
		return damage{}, err
	}
	if *config == "" || !tableName.MatchString(*table) {
		return damage{}, errors.New("table needs --config and --table, a name of small letters")
	}
	if err := inside(l, *config); err != nil {
		return damage{}, err
	}
	where, err := site.Read[site.Storage](*config, site.StorageFile)
	if err != nil {
		return damage{}, err
	}
	conn, err := pgx.Connect(ctx, where.Database)
	if err != nil {
		return damage{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := drop(ctx, conn, *table); err != nil {
		return damage{}, fmt.Errorf("drop %s: %w", *table, err)
	}
	return damage{At: time.Now(), Dropped: *table}, nil
}

// drop tries again when the server chose it to resolve a deadlock: whoever
// inserts locks the tables in the other order.
func drop(ctx context.Context, conn *pgx.Conn, table string) error {
	for tried := 1; ; tried++ {
		_, err := conn.Exec(ctx, "DROP TABLE "+table+" CASCADE")
		var refused *pgconn.PgError
		if err == nil || tried == mostTries || !errors.As(err, &refused) || refused.Code != deadlockDetected {
			return err
		}
	}
}
