package metrics

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// listenAgain is how long a taken address is left alone: the worker before this
// one may still be ending.
const listenAgain = 5 * time.Second

// Serve serves /metrics at the address until ctx ends. An address that can't be
// had is told and tried again: a worker is needed more than its metrics.
func (m *Metrics) Serve(ctx context.Context, address string) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	for ctx.Err() == nil {
		if err := m.serve(ctx, address, mux); err != nil {
			m.log.Warn("metrics are not served", zap.String("address", address), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (m *Metrics) serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	m.log.Info("serving metrics", zap.String("address", "http://"+listener.Addr().String()+"/metrics"))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			m.log.Warn("metrics were not ended", zap.Error(err))
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
