package main

import (
	"context"

	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/wal/local"
)

// push says whether the worker has the file in the store, or what it said instead.
func push(ctx context.Context, a arguments, env func(string) (string, bool)) (said string, done bool) {
	if _, asked := env(ask.EnvSaid); asked {
		return "", false
	}
	if home, err := local.HomeOf("."); err != nil || home != "" { // it archives elsewhere
		return "", false
	}
	path, err := system.Find(a.config, env)
	if err != nil {
		return "", false
	}
	configured, err := system.LoadStorage(path, env)
	if err != nil {
		return "", false
	}
	database, err := configured.Database(a.database)
	if err != nil {
		return "", false
	}
	done, refused := ask.ForFile(ctx, *configured, database, a.rest[0])
	if refused != nil {
		said = refused.Error()
	}
	return said, done
}

// fetch says whether the file was in the spool, and lies where it was asked for.
func fetch(ctx context.Context, a arguments) (done bool) {
	pin, err := local.ReadPin(a.pin)
	if err != nil {
		return false
	}
	taken, _, err := local.SpoolOf(a.pin).Await(ctx, pin, a.rest[0], a.rest[1])
	return taken && err == nil
}
