// Command lifeboat-worker runs Lifeboat's workflows and activities on the
// machine whose components it backs up and recovers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows/api"
)

// flags are the command line.
type flags struct {
	config   string
	queue    string
	lifeboat string
}

func main() {
	var f flags
	flag.StringVar(&f.config, "config", "", "configuration `FILE` (default: $LIFEBOAT_CONFIG, ./lifeboat.yaml, /etc/lifeboat/lifeboat.yaml)")
	flag.StringVar(&f.queue, "queue", api.Queue, "task `QUEUE` to serve")
	flag.StringVar(&f.lifeboat, "lifeboat", "", "`PATH` of the program for restore_command (default: lifeboat-wal or lifeboat, beside this one)")
	flag.Parse()
	secrets := telemetry.NewSecrets()
	secrets.AddEnvironment(os.LookupEnv)
	if err := serve(f, secrets); err != nil {
		fmt.Fprintln(os.Stderr, "lifeboat-worker:", secrets.Redact(err.Error()))
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintln(os.Stderr, "HINT:", secrets.Redact(hint))
		}
		os.Exit(fault.ExitCode(err))
	}
}

func serve(f flags, secrets *telemetry.Secrets) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	path, err := system.Find(f.config, os.LookupEnv)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return fault.New(fault.ConfigInvalid, "find configuration", path, err)
	}
	configured, err := system.Load(path, os.LookupEnv)
	if err != nil {
		return err
	}
	logger, err := telemetry.NewLogger(telemetry.LogConfig{To: os.Stderr, Level: configured.Telemetry.LogLevel, Format: configured.Telemetry.LogFormat, Secrets: secrets})
	if err != nil {
		return err
	}
	logger = logger.With(zap.String("system", configured.Name))
	if f.lifeboat, err = besideThis(f.lifeboat); err != nil {
		return err
	}
	host, err := hostName()
	if err != nil {
		return err
	}
	seen, err := observe(ctx, configured, logger, secrets)
	if err != nil {
		return err
	}
	defer seen.close(ctx, logger)
	options, err := seen.options(logger)
	if err != nil {
		return err
	}
	parts := assembly.New(assembly.Config{Env: os.LookupEnv, Memory: int64(configured.Limits.Memory), OnSecret: secrets.Add, Tracer: seen.tracer()})
	parts.LimitMemory()
	if options.Payloads, err = openPayloads(parts, configured); err != nil {
		return err
	}
	connected, err := dial(ctx, options)
	if err != nil {
		return err
	}
	defer connected.Close()
	w, err := builder{
		connected: connected, payloads: options.Payloads, parts: parts, seen: seen, logger: logger,
		configured: configured, configPath: path, host: host, flags: f,
	}.assemble()
	if err != nil {
		return err
	}
	if err := seen.serve(ctx, parts, configured, path, host, logger); err != nil {
		return err
	}
	if err := addSearchAttributes(ctx, connected); err != nil {
		logger.Warn("runs can't be searched for; all else works", zap.Error(err), zap.String("hint", fault.HintOf(err)))
	}
	archiving := takeWAL(ctx, parts, configured, path, logger)
	defer archiving()
	beating := keepBeating(ctx, configured, parts.Secret, logger)
	defer beating()
	logger.Info("serving", zap.String("queue", f.queue), zap.String("config", path))
	if err := w.Start(); err != nil {
		return fault.New(fault.TemporalUnavailable, "start worker on queue", f.queue, err)
	}
	<-ctx.Done()
	logger.Info("stopping: running steps are given time to end", zap.Duration("at most", stopTimeout))
	w.Stop()
	return nil
}

// openPayloads resolves the keys of payloads.
func openPayloads(parts *assembly.Assembly, configured *system.System) (*temporal.Payloads, error) {
	var secrets []keys.Secret
	for _, ref := range configured.Temporal.Keys() {
		secret, err := parts.Secret(ref)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, keys.NewSecret(secret))
	}
	return temporal.NewPayloads(secrets)
}

// addSearchAttributes makes runs searchable by what they are doing.
func addSearchAttributes(ctx context.Context, connected connection) error {
	_, namespace, err := temporal.Where()
	if err != nil {
		return err
	}
	return temporal.AddSearchAttributes(ctx, connected, namespace, api.SearchAttributes())
}

// dial connects to Temporal and keeps trying: after a power cut the worker may
// be up first.
func dial(ctx context.Context, o temporal.Options) (connection, error) {
	for {
		connected, err := temporal.Dial(ctx, o)
		if !fault.Has(err, fault.TemporalUnavailable) {
			return connected.Client, err
		}
		o.Logger.Warn("waiting for Temporal", zap.Error(err))
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// besideThis finds the program that restore_command calls: lifeboat, or the faster one beside it.
func besideThis(given string) (string, error) {
	path := given
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fault.New(fault.PathFailed, "find", "lifeboat", err)
		}
		path = filepath.Join(filepath.Dir(self), "lifeboat")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fault.New(fault.PathFailed, "find", path, err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fault.New(fault.ConfigInvalid, "find the lifeboat command at", path, err).
			WithHint("install it beside lifeboat-worker, or say where it is with -lifeboat")
	}
	if given == "" {
		path = ask.QuickOf(path)
	}
	return path, nil
}
