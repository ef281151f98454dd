package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/workflows/api"
)

// Limits of a worker's resident memory, in MiB.
const memoryMust, memoryAim = 300, 200

const streamBucket = "bench-stream"

// memory puts a worker in the place of the demo's that can also back up a
// generated stream, and has it do that and everything else at once.
func (b *bench) memory(ctx context.Context, g *ground) error {
	usual, err := g.worker.PID()
	if err != nil {
		return err
	}
	if peak, err := peakMemory(usual); err == nil {
		b.note("peak memory of the demo's own worker so far: %.0f MiB", peak)
	}
	if err := g.worker.Stop(ctx); err != nil {
		return err
	}
	if err := g.createStreamBucket(ctx); err != nil {
		return err
	}
	measured, err := g.startMeasuredWorker(ctx)
	if err != nil {
		return err
	}
	b.note("stream of %d MiB, load average %s", b.stream, loadAverage())
	var key string
	for _, part := range []struct {
		figure, workflow string
		input            any
		result           any
	}{
		{"memory_backup", writeStream, b.stream << 20, &key},
		{"memory_verify", verifyStream, &key, nil},
	} {
		peak, err := b.peakDuring(ctx, g, measured, part.workflow, part.input, part.result)
		if err != nil {
			return fmt.Errorf("%s: %w", part.workflow, err)
		}
		b.tell(figure{name: part.figure, value: peak, unit: "MiB", must: memoryMust, aim: memoryAim})
	}
	return measured.Stop(ctx)
}

// memoryOfCluster tells the most memory that the worker of the real cluster ever had,
// with a full backup and its proof, a repeat backup and a restore among what it did.
func (b *bench) memoryOfCluster(ctx context.Context, p *peers) error {
	if err := p.archiveBy(ctx, p.ours); err != nil {
		return err
	}
	for _, flags := range [][]string{{"--full"}, nil} {
		if _, _, err := p.backUp(ctx, flags...); err != nil {
			return err
		}
	}
	dir := filepath.Join(p.lab.Dir, "postgres", "remembered")
	_, err := p.restoreTo(ctx, dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	pid, err := p.worker.PID()
	if err != nil {
		return err
	}
	peak, err := peakMemory(pid)
	if err != nil {
		return err
	}
	b.tell(figure{name: "memory_cluster", value: peak, unit: "MiB", must: memoryMust, aim: memoryAim})
	return nil
}

// peakDuring runs a workflow on the measured worker, and full backups of the
// system beside it until it ends.
func (b *bench) peakDuring(ctx context.Context, g *ground, worker *lab.Service, workflow string, input, result any) (float64, error) {
	pid, err := worker.PID()
	if err == nil {
		err = forgetPeak(pid)
	}
	if err != nil {
		return 0, err
	}
	began := time.Now()
	run, err := g.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflow, TaskQueue: api.Queue}, workflow, input)
	if err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Get(ctx, result) }()
	backups := 0
	for {
		if _, err := g.lifeboat(ctx, "backup", "system"); err != nil {
			return 0, err
		}
		backups++
		select {
		case err := <-ended:
			if err != nil {
				return 0, err
			}
			took := time.Since(began)
			b.note("%s: %d MiB in %.0f s, with %d backups of the system beside it", workflow, b.stream, took.Seconds(), backups)
			return peakMemory(pid)
		default:
		}
	}
}

// createStreamBucket makes a bucket of its own for the stream, which is not replicated.
func (g *ground) createStreamBucket(ctx context.Context) error {
	configured, err := g.configuration()
	if err != nil {
		return err
	}
	primary, err := configured.Primary()
	if err != nil {
		return err
	}
	none := func(string) (string, bool) { return "", false }
	access, accessErr := primary.AccessKey.Resolve(none, os.ReadFile)
	secret, secretErr := primary.SecretKey.Resolve(none, os.ReadFile)
	if err := errors.Join(accessErr, secretErr); err != nil {
		return err
	}
	server := &lab.S3{Endpoint: primary.Endpoint, Region: primary.Region, AccessKey: string(access), SecretKey: string(secret)}
	return server.CreateBucket(ctx, streamBucket)
}

// startMeasuredWorker starts this program again, as a worker.
func (g *ground) startMeasuredWorker(ctx context.Context) (*lab.Service, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := g.lab.Path("bin", "bench")
	if err := copyProgram(self, program); err != nil {
		return nil, err
	}
	port, err := lab.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	measured, err := g.lab.Define(lab.Program{
		Name: "measured-worker", Args: []string{program, "-serve", address}, Env: g.env, Ready: "tcp://" + address,
	})
	if err != nil {
		return nil, err
	}
	return measured, measured.Start(ctx)
}

func copyProgram(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, source)
	return errors.Join(err, copied.Chmod(0o755), copied.Close())
}
