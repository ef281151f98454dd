package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock keeps two migrations of one database apart.
const migrationLock = 7_031_983

// migrate applies every migration that the database does not have, each in a
// transaction of its own, in the order of their names.
func migrate(ctx context.Context, dsn string, log *slog.Logger) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := conn.Exec(ctx, "create table if not exists migrations (name text primary key, applied_at timestamptz not null default now())"); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, name := range names {
		applied, err := apply(ctx, conn, name)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", name, err)
		}
		log.Info("migration", "file", name, "applied", applied)
	}
	return nil
}

// apply says whether the migration was missing.
func apply(ctx context.Context, conn *pgx.Conn, name string) (bool, error) {
	statements, err := migrationFiles.ReadFile(name)
	if err != nil {
		return false, err
	}
	applied := false
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "insert into migrations (name) values ($1) on conflict do nothing", name)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		applied = true
		_, err = tx.Exec(ctx, string(statements))
		return err
	})
	return applied, err
}

// current fails when the database lacks a migration that this program has.
func current(ctx context.Context, db *pgxpool.Pool) error {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return err
	}
	var missing int
	err = db.QueryRow(ctx, "select count(*) from unnest($1::text[]) as wanted where wanted not in (select name from migrations)", names).Scan(&missing)
	if err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("the schema lacks %d migrations", missing)
	}
	return nil
}
