package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/archiver"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/system"
)

// takeWAL serves wal-push for every database until ctx ends; the function that it
// gives waits for that. A worker that can't, serves all else: wal-push goes to the
// store itself then.
func takeWAL(ctx context.Context, parts *assembly.Assembly, configured *system.System, configPath string, logger *zap.Logger) (wait func()) {
	ctx, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	for _, d := range configured.Databases {
		log := logger.With(zap.String("database", d.Name))
		server, err := archiver.Listen(ctx, archiver.Config{
			Load: func() (system.System, error) {
				read, err := system.LoadStorage(configPath, os.LookupEnv)
				if err != nil {
					return system.System{}, err
				}
				return *read, nil
			},
			Vault: parts.Vault, Log: log,
		}, configured.WALSocket(d), d)
		switch {
		case errors.Is(err, fs.ErrNotExist) && d.Socket == "":
			log.Info("wal-push goes to the store itself: there is no folder for a socket", zap.Error(err))
			continue
		case err != nil:
			log.Warn("wal-push goes to the store itself", zap.Error(err))
			continue
		}
		serving.Go(func() {
			if err := server.Serve(ctx); err != nil {
				log.Warn("wal-push goes to the store itself from now on", zap.Error(err))
			}
		})
	}
	return func() {
		stop()
		serving.Wait()
	}
}
