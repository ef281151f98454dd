package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
)

// beatTime bounds one heartbeat.
const beatTime = 10 * time.Second

// keepBeating ends an empty transaction on each database, as often as it is
// configured, until ctx ends; the function that it gives waits for that.
func keepBeating(ctx context.Context, configured *system.System, secret func(system.SecretRef) ([]byte, error), logger *zap.Logger) (wait func()) {
	ctx, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	for _, d := range configured.Databases {
		every := d.Beats()
		if every == 0 {
			continue
		}
		h := heartbeat{database: d, secret: secret, log: logger.With(zap.String("database", d.Name))}
		beating.Go(func() { h.keep(ctx, every) })
	}
	return func() {
		stop()
		beating.Wait()
	}
}

// heartbeat is that of one database.
type heartbeat struct {
	database system.Database
	secret   func(system.SecretRef) ([]byte, error)
	log      *zap.Logger
	failed   fault.Kind // of the last one; told once, not each time
}

func (h *heartbeat) keep(ctx context.Context, every time.Duration) {
	next := time.NewTicker(every)
	defer next.Stop()
	for {
		h.tell(ctx, h.beat(ctx))
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

// beat connects anew each time: no session of its own is in the way of a
// recovery, nor stays with a server that was replaced.
func (h *heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	dsn, err := h.secret(h.database.Connection)
	if err != nil {
		return err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{Host: h.database.Host, Port: h.database.Port})
	if err != nil {
		return err
	}
	_, err = postgres.Beat(ctx, login)
	return err
}

// tell logs a failure when it begins and when it is over. While one lasts the
// recovery point ages, which lifeboat status and the metrics show.
func (h *heartbeat) tell(ctx context.Context, err error) {
	kind := fault.KindOf(err)
	switch {
	case ctx.Err() != nil || kind == h.failed:
		return
	case err != nil:
		h.log.Warn("no heartbeat: when nothing else is written either, the archive tells of nothing newer", zap.Error(err))
	default:
		h.log.Info("heartbeats again")
	}
	h.failed = kind
}
