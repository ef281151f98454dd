package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/activities/redis"
	vaultactivities "github.com/frende/lifeboat/activities/vault"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows"
	"github.com/frende/lifeboat/workflows/api"
)

// Workflows of the measured worker, each of one activity of the same name.
const (
	writeStream  = "WriteStream"  // bytes → key of the backup
	verifyStream = "VerifyStream" // key
)

// serve is a worker with everything that backups need, put together as
// lifeboat-worker does it, and with the generated stream besides. All of it
// shares one byte budget. It works when something listens at the address.
func serve(ctx context.Context, address string) error {
	configured, err := system.Load(os.Getenv("LIFEBOAT_CONFIG"), os.LookupEnv)
	if err != nil {
		return err
	}
	logger, err := zap.NewProduction()
	if err != nil {
		return err
	}
	payloads, err := temporal.NewPayloads(nil)
	if err != nil {
		return err
	}
	connected, err := temporal.Dial(ctx, temporal.Options{Logger: logger, Payloads: payloads})
	if err != nil {
		return err
	}
	defer connected.Close()
	parts := assembly.New(assembly.Config{Env: os.LookupEnv, Memory: int64(configured.Limits.Memory)})
	parts.LimitMemory()
	w := worker.New(connected.Client, api.Queue, worker.Options{
		DisableRegistrationAliasing: true,
		Interceptors:                []interceptor.WorkerInterceptor{temporal.FaultInterceptor(logger)},
	})
	workflows.Register(w)
	for _, name := range []string{writeStream, verifyStream} {
		w.RegisterWorkflowWithOptions(single(name), workflow.RegisterOptions{Name: name})
	}
	for name, activities := range map[string]any{
		"postgres.": postgres.New(postgres.Deps{Vault: parts.Vault, Secret: parts.Secret}),
		"redis.":    redis.New(redis.Deps{Vault: parts.Vault, Secret: parts.Secret}),
		"files.":    files.New(files.Deps{Vault: parts.Vault}),
		"vault.":    vaultactivities.New(vaultactivities.Deps{Vault: parts.Vault, Stores: parts.Stores, Budget: parts.Budget()}),
		"records.": records.New(records.Deps{
			Load: func() (system.System, error) { return *configured, nil },
			File: func(ctx context.Context, s system.System, r records.Record) error {
				opened, err := parts.Ledger(ctx, s, "bench")
				if err != nil {
					return err
				}
				_, err = opened.Append(ctx, ledger.Record{ID: r.ID, Kind: r.Kind, Subject: r.Subject, Body: r.Body})
				return err
			},
			Attempts: records.AttemptsFrom(connected, payloads.Message),
		}),
		"": &streamer{open: parts.Vault, system: withStore(*configured, streamBucket)},
	} {
		w.RegisterActivityWithOptions(activities, activity.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	ready, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ready.Close()
}

// withStore is the system with one other bucket in its primary's place, and no replica.
func withStore(s system.System, bucket string) system.System {
	only := s.Stores[0]
	only.Bucket, only.Replica = bucket, ""
	s.Stores = []system.Store{only}
	return s
}

// single is a workflow of one activity that moves bytes.
func single(name string) func(workflow.Context, any) (string, error) {
	return func(ctx workflow.Context, input any) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: 10 * time.Second})
		var result string
		return result, workflow.ExecuteActivity(ctx, name, input).Get(ctx, &result)
	}
}

// streamer backs up a stream that is made on the fly, and reads it back.
type streamer struct {
	open   func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error)
	system system.System
}

// WriteStream backs up so many bytes and gives the backup's key.
func (s *streamer) WriteStream(ctx context.Context, bytes int64) (_ string, err error) {
	stop := temporal.Heartbeats(ctx, func() any { return nil })
	defer stop()
	opened, err := s.open(ctx, s.system, nil)
	if err != nil {
		return "", err
	}
	info := activity.GetInfo(ctx)
	w, err := opened.Begin(ctx, vault.Intent{
		Folder: "file-backups", Kind: "tree", System: s.system.Name, Component: "generated",
		RunID: info.WorkflowExecution.RunID, Attempt: info.Attempt, At: time.Now(), Codec: string(s.system.Backup.Compression),
	})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	stream, err := w.Create(ctx, "content")
	if err != nil {
		return "", err
	}
	if _, err := io.CopyBuffer(stream, &generated{left: bytes, noise: rand.NewChaCha8([32]byte{1})}, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	if err := stream.Close(); err != nil {
		return "", err
	}
	manifest, err := w.Commit(ctx, nil)
	if err != nil {
		return "", err
	}
	return manifest.Key, nil
}

// VerifyStream reads every byte of a backup back.
func (s *streamer) VerifyStream(ctx context.Context, key string) (string, error) {
	stop := temporal.Heartbeats(ctx, func() any { return nil })
	defer stop()
	opened, err := s.open(ctx, s.system, nil)
	if err != nil {
		return "", err
	}
	backup, err := opened.Open(ctx, key)
	if err != nil {
		return "", err
	}
	return key, backup.Verify(ctx, nil)
}

// generated is a stream of which half can be compressed: noise, in which every
// second part is a line of text again and again.
type generated struct {
	left  int64
	noise *rand.ChaCha8
	lines int
}

const part = 4 << 10

func (g *generated) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), g.left)]
	g.left -= int64(len(p))
	for rest := p; len(rest) > 0; {
		noise := rest[:min(part, len(rest))]
		rest = rest[len(noise):]
		if _, err := g.noise.Read(noise); err != nil {
			return 0, err
		}
		text := rest[:min(part, len(rest))]
		rest = rest[len(text):]
		g.lines++
		line := fmt.Appendf(nil, "line %d of what people write again and again\n", g.lines)
		for len(text) > 0 {
			text = text[copy(text, line):]
		}
	}
	return len(p), nil
}
