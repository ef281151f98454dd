package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/frende/lifeboat/examples/frende/site"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "app: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: app migrate|backend|frontend --config DIR [--name NAME]")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	dir := flags.String("config", "config", "directory of the configuration files")
	name := flags.String("name", "", "which of the back ends this is")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("mode", args[0], "name", *name)
	switch args[0] {
	case "migrate":
		data, err := site.Read[site.Storage](*dir, site.StorageFile)
		if err != nil {
			return err
		}
		return migrate(ctx, data.Database, log)
	case "backend":
		return runBackend(ctx, *dir, *name, log)
	case "frontend":
		return runFrontend(ctx, *dir, log)
	}
	return fmt.Errorf("unknown mode %q", args[0])
}

func runBackend(ctx context.Context, dir, name string, log *slog.Logger) error {
	data, err := site.Read[site.Storage](dir, site.StorageFile)
	if err != nil {
		return err
	}
	places, err := site.Read[site.Network](dir, site.NetworkFile)
	if err != nil {
		return err
	}
	address, ok := places.Backends[name]
	if !ok {
		return fmt.Errorf("network.yaml has no back end %q", name)
	}
	b, err := newBackend(ctx, data, log)
	if err != nil {
		return err
	}
	defer b.close()
	return serve(ctx, address, b.routes(), log)
}

func runFrontend(ctx context.Context, dir string, log *slog.Logger) error {
	places, err := site.Read[site.Network](dir, site.NetworkFile)
	if err != nil {
		return err
	}
	words, err := site.Read[site.Look](dir, site.LookFile)
	if err != nil {
		return err
	}
	return serve(ctx, places.Frontend, newFrontend(places, words, log).routes(), log)
}

// serve answers requests until ctx ends, and then finishes those it has.
func serve(ctx context.Context, address string, handler http.Handler, log *slog.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Info("listening", "address", address)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Info("stopped")
	return nil
}
