package main

import (
	"context"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/activities/checks"
	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/activities/sandbox"
	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// stopTimeout is what running steps get when the worker is asked to stop.
const stopTimeout = 20 * time.Second

// connection is the client of the Temporal server.
type connection = client.Client

// builder is what a worker is built from.
type builder struct {
	connected  connection
	payloads   *temporal.Payloads
	parts      *assembly.Assembly
	seen       observed
	logger     *zap.Logger
	configured *system.System
	configPath string
	host       string
	flags      flags
}

// assemble builds the worker: every workflow and every activity with what it needs of this host.
func (b builder) assemble() (worker.Worker, error) {
	connected, parts, logger := b.connected, b.parts, b.logger
	configured, configPath, host, f := b.configured, b.configPath, b.host, b.flags
	_, namespace, err := temporal.Where()
	if err != nil {
		return nil, err
	}
	logs, err := logDir()
	if err != nil {
		return nil, err
	}
	control := service.New(service.Config{LogDir: logs})

	w := worker.New(connected, f.queue, worker.Options{
		Identity:                    "lifeboat-worker@" + host,
		DisableRegistrationAliasing: true,
		WorkerStopTimeout:           stopTimeout,
		// A workflow task that waits for the cache of a worker that was killed goes
		// to its successor after this time; Temporal's default is five seconds.
		StickyScheduleToStartTimeout: time.Second,
		// People watch, and an attempt that is cut off is taken up where it was last
		// heard of; Temporal's default is to pass on a word in eight seconds.
		MaxHeartbeatThrottleInterval: time.Second,
		Interceptors:                 append([]interceptor.WorkerInterceptor{temporal.FaultInterceptor(logger)}, b.seen.interceptors()...),
	})
	workflows.Register(w)
	for name, activities := range map[string]any{
		"postgres.": postgres.New(postgres.Deps{
			Vault: parts.Vault, Secret: parts.Secret, Services: control, Proof: levelOf(prover(parts, host)),
			RestoreCommand: restoreCommand(f.lifeboat, configPath), Environment: environment(configured),
		}),
		"redis.":    redis.New(redis.Deps{Vault: parts.Vault, Secret: parts.Secret, Services: control}),
		"files.":    files.New(files.Deps{Vault: parts.Vault}),
		"services.": services.New(services.Deps{Control: control, Secret: parts.Secret}),
		"checks.":   checks.New(checks.Deps{Secret: parts.Secret}),
		"sandbox.":  sandbox.New(sandbox.Deps{Recovering: recovering(connected)}),
		"vault.": vault.New(vault.Deps{
			Vault: parts.Vault, Stores: parts.Stores, Budget: parts.Budget(),
			Ledger: func(ctx context.Context, s system.System) (*ledger.Ledger, error) { return parts.Ledger(ctx, s, host) },
			Reading: func(ctx context.Context, s system.System) (string, error) {
				return temporal.Reading(ctx, connected, s.Name)
			},
			Running: func(ctx context.Context, runID string) (bool, error) { return temporal.Running(ctx, connected, runID) },
		}),
		"hosts.": hosts.New(hosts.Deps{
			Ended: func(ctx context.Context, s system.System, c system.Component, run string) (bool, string, error) {
				return temporal.RecoveryEnded(ctx, connected, s, c, run)
			},
			RunEnded: func(ctx context.Context, run string) (bool, string, error) {
				return temporal.RunEnded(ctx, connected, run)
			},
		}),
		"records.": records.New(records.Deps{
			Load:     func() (system.System, error) { return load(configPath) },
			File:     filer(parts, host),
			Proof:    prover(parts, host),
			Run:      runner(parts, host),
			Running:  func(ctx context.Context, id string) (bool, error) { return temporal.Running(ctx, connected, id) },
			Attempts: records.AttemptsFrom(connected, b.payloads.Message),
			Searchable: func(ctx context.Context) bool {
				return temporal.HasSearchAttributes(ctx, connected, namespace, api.SearchAttributes())
			},
			Status: looker(parts, connected, b.payloads, f.queue),
		}),
	} {
		w.RegisterActivityWithOptions(activities, activity.RegisterOptions{Name: name})
	}
	return w, nil
}

// load reads the configuration anew, so that a run begins with what the file says then.
func load(path string) (system.System, error) {
	configured, err := system.Load(path, os.LookupEnv)
	if err != nil {
		return system.System{}, err
	}
	return *configured, nil
}

// filer appends to this host's chain of the ledger.
func filer(parts *assembly.Assembly, host string) func(ctx context.Context, s system.System, r records.Record) error {
	return func(ctx context.Context, s system.System, r records.Record) error {
		opened, err := parts.Ledger(ctx, s, host)
		if err != nil {
			return err
		}
		_, err = opened.Append(ctx, ledger.Record{ID: r.ID, Kind: r.Kind, Subject: r.Subject, Body: r.Body})
		return err
	}
}

// runner finds the record of a run on the ledger: of several runs of one ID the
// newest that has begun to put something in place, or else the newest.
func runner(parts *assembly.Assembly, host string) func(ctx context.Context, s system.System, id string) (report.Run, error) {
	return func(ctx context.Context, s system.System, id string) (report.Run, error) {
		opened, err := parts.Ledger(ctx, s, host)
		if err != nil {
			return report.Run{}, err
		}
		newest, err := opened.FindRun(ctx, records.KindRun, id)
		if err != nil {
			return report.Run{}, err
		}
		var run report.Run
		if err := newest.Decode(&run); err != nil || run.CutOver() || run.ID != id {
			return run, err
		}
		var earlier report.Run
		_, err = opened.Pick(ctx, records.KindRun, id, func(e ledger.Entry) (bool, error) {
			earlier = report.Run{}
			err := e.Decode(&earlier)
			return err == nil && earlier.CutOver(), err
		})
		if fault.Has(err, fault.RunUnknown) {
			return run, nil
		}
		return earlier, err
	}
}

// levelOf gives the proof level alone: what could not be read is told where it is recorded.
func levelOf(proof func(ctx context.Context, s system.System, key string) (records.Proof, error)) func(ctx context.Context, s system.System, key string) (string, error) {
	return func(ctx context.Context, s system.System, key string) (string, error) {
		found, err := proof(ctx, s, key)
		return found.Level, err
	}
}

// prover finds the proof level of a backup on the ledger.
func prover(parts *assembly.Assembly, host string) func(ctx context.Context, s system.System, key string) (records.Proof, error) {
	return func(ctx context.Context, s system.System, key string) (records.Proof, error) {
		opened, err := parts.Ledger(ctx, s, host)
		if err != nil {
			return records.Proof{}, err
		}
		found, err := opened.Find(ctx, records.KindBackup, key)
		proof := records.Proof{Unreadable: found.Unreadable}
		if fault.Has(err, fault.RunUnknown) {
			return proof, nil
		}
		if err != nil {
			return proof, err
		}
		var made api.BackupMade
		if err := found.Decode(&made); err != nil {
			return proof, err
		}
		proof.Level = made.Proof
		return proof, prove(ctx, opened, key, &proof)
	}
}

// prove adds what was found of a backup after it was made: the highest level since
// it was found damaged, if it was.
func prove(ctx context.Context, opened *ledger.Ledger, key string, proof *records.Proof) error {
	highest := ""
	for entry, err := range opened.Newest(ctx, ledger.Filter{Subject: key}) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && fault.Retryable(err):
			return err
		case err != nil:
			proof.Unreadable = append(proof.Unreadable, err)
		case entry.Kind == records.KindDamage:
			proof.Level = highest
			return nil
		case entry.Kind == records.KindBackup:
			proof.Level = max(proof.Level, highest)
			return nil
		case entry.Kind == records.KindProof:
			var proven records.Proven
			if err := entry.Decode(&proven); err != nil {
				return err
			}
			highest = max(highest, proven.Level)
		}
	}
	proof.Level = max(proof.Level, highest)
	return nil
}

// onlyTheEnd keeps wal-fetch's contract where wal-fetch can't: a Go program that gets no
// thread or no memory as it starts exits with 2, which PostgreSQL takes for the end of the archive.
const onlyTheEnd = " || case $? in 1) exit 1;; *) exit 126;; esac"

// restoreCommand is PostgreSQL's setting of that name, for one pinned recovery.
func restoreCommand(lifeboat, configPath string) func(system.System, system.Database, string) string {
	return func(s system.System, _ system.Database, pinFile string) string {
		alone := ""
		if s.From != "" {
			alone = " --from " + quoted(s.From)
		}
		return quoted(lifeboat) + " --config " + quoted(configPath) + alone + " wal-fetch --pin " + quoted(pinFile) + " %f %p" + onlyTheEnd
	}
}

// quoted is text as one word of the shell that PostgreSQL runs the command
// with, its per cent signs kept from PostgreSQL itself.
func quoted(text string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "%", "%%").Replace(text) + "'"
}

// environment is what wal-fetch needs of this worker's: the variables that the
// secrets of keys and stores are read from, and the SDK's. It goes to a server of
// PostgreSQL's account, so nothing else does.
func environment(s *system.System) []string {
	wanted := map[string]bool{"PATH": true, "HOME": true, "BACKUP_ENCRYPTION_KEY": true}
	refs := append([]system.SecretRef{}, s.Keys.Encryption...)
	for _, store := range s.Stores {
		refs = append(refs, store.AccessKey, store.SecretKey)
	}
	for _, ref := range refs {
		if name, ok := strings.CutPrefix(string(ref), "env:"); ok {
			wanted[name] = true
		}
	}
	var kept []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if wanted[name] || strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "DB_BACKUP_") {
			kept = append(kept, variable)
		}
	}
	return kept
}
