package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// drill compares what a drill took with the demo's recovery. Its backup is of the
// system that the recovery brought back, and as large.
func (b *bench) drill(ctx context.Context, g *ground) error {
	recovery, err := g.recorded(ctx, "report", recoveryID)
	if err != nil {
		return err
	}
	if _, err := g.lifeboat(ctx, "backup", "system"); err != nil { // of the new timeline, and copied to the second region
		return err
	}
	var all []time.Duration
	for range b.runs {
		if _, err := g.lifeboat(ctx, "drill", "run"); err != nil {
			return err
		}
		rehearsed, err := g.recorded(ctx, "drill", "show")
		if err != nil {
			return err
		}
		all = append(all, rehearsed.Finished.Sub(rehearsed.Started))
	}
	took := recovery.Finished.Sub(recovery.Started)
	b.note("RecoverSystem took %.2f s, DrillSystem %s", took.Seconds(), list(all))
	b.tell(figure{name: "drill", value: median(all).Seconds() / took.Seconds(), must: 1.3, aim: 1.1})
	return nil
}

// recorded gives the record of a run, as the ledger has it.
func (g *ground) recorded(ctx context.Context, command ...string) (*report.Run, error) {
	raw, err := g.lifeboat(ctx, append(command, "--json")...)
	if err != nil {
		return nil, err
	}
	run := new(report.Run)
	return run, json.Unmarshal(raw, run)
}

// status measures how long an operator waits for it.
func (b *bench) status(ctx context.Context, g *ground) error {
	var all []time.Duration
	var answer string
	for range max(b.runs, 5) {
		began := time.Now()
		said, err := g.lifeboat(ctx, "status")
		all = append(all, time.Since(began))
		if ended, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || ended.ExitCode() != 1) {
			return err
		} // 1: something is late, such as the first drill
		answer, _, _ = strings.Cut(string(said), "\n")
	}
	b.note("lifeboat status: %s; it said %q", list(all), strings.Join(strings.Fields(answer), " "))
	b.tell(figure{name: "status", value: median(all).Seconds() * 1000, unit: "ms", must: 1000, aim: 300})
	return nil
}

const (
	loadFor    = time.Minute
	loadEvery  = 100 * time.Millisecond // between two of a writer's transactions
	loadRows   = 100                    // of each, of a kilobyte
	loadSwitch = 2 * time.Second        // between two ends of a WAL segment
	loadMost   = 4                      // writers
)

// lag measures for how long an object is in one region only, while the database
// is written to and backed up: by what the two stores say of it, and not by what
// the replication says of itself.
func (b *bench) lag(ctx context.Context, g *ground) error {
	configured, err := g.configuration()
	if err != nil {
		return err
	}
	primary, err := configured.Primary()
	if err != nil {
		return err
	}
	near, far, err := assembly.New(assembly.Config{Env: os.LookupEnv, Memory: 64 << 20}).Stores(ctx, *configured, primary)
	if err != nil {
		return err
	}
	began := time.Now()
	following, err := g.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: api.ReplicationID(configured.Name, primary.Name), TaskQueue: api.Queue},
		api.ReplicateStore, api.ReplicateInput{Follow: system.Duration(loadFor)})
	if err != nil {
		return err
	}
	loading, cancel := context.WithDeadline(ctx, began.Add(loadFor-3*replicateEvery))
	defer cancel()
	if err := g.load(loading, configured); err != nil {
		return err
	}
	if err := following.Get(ctx, nil); err != nil {
		return err
	}
	worst, err := lagging(ctx, near, far, began)
	if err != nil {
		return err
	}
	b.note("%d objects of %.0f MiB while %d writers wrote and a backup was made: the longest in one region only was %s",
		worst.objects, float64(worst.bytes)/(1<<20), loadMost, worst.key)
	if worst.coarse {
		worst.lag += time.Second
		b.note("the stores tell whole seconds: one was added")
	}
	b.tell(figure{name: "replication_lag", value: worst.lag.Seconds(), unit: "s", must: 10, aim: 6})
	return nil
}

// replicateEvery is how often what is new is looked for.
const replicateEvery = 5 * time.Second

// load writes into a table of its own until the time is over, ends WAL segments
// as a busy server does, and makes one backup of everything.
func (g *ground) load(ctx context.Context, configured *system.System) error {
	dsn, err := configured.Databases[0].Connection.Resolve(os.LookupEnv, os.ReadFile)
	if err != nil {
		return err
	}
	if err := each(ctx, string(dsn), 0, "create table if not exists bench (text text)"); err != nil {
		return err
	}
	writing, ctx := errgroup.WithContext(ctx)
	for range loadMost {
		writing.Go(func() error {
			return each(ctx, string(dsn), loadEvery, fmt.Sprintf("insert into bench select repeat(md5(random()::text), 32) from generate_series(1, %d)", loadRows))
		})
	}
	writing.Go(func() error { return each(ctx, string(dsn), loadSwitch, "select pg_switch_wal()") })
	writing.Go(func() error {
		_, err := g.lifeboat(context.WithoutCancel(ctx), "backup", "system") // ends by itself
		return err
	})
	err = writing.Wait()
	return errors.Join(err, each(context.WithoutCancel(ctx), string(dsn), 0, "drop table bench"))
}

// each runs a statement again and again until the time is over; once for 0.
func each(ctx context.Context, dsn string, every time.Duration, statement string) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for {
		if _, err := conn.Exec(ctx, statement); err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return err
		}
		if every == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // the errgroup has the reason, when it is one
		case <-time.After(every):
		}
	}
}

// lagged is the object that was in one region only for longest.
type lagged struct {
	key     string
	lag     time.Duration
	objects int
	bytes   int64
	coarse  bool // every time was one of whole seconds
}

// lagging holds the times at which two stores got what is new against each other.
func lagging(ctx context.Context, near, far store.Store, since time.Time) (lagged, error) {
	copied := map[string]time.Time{}
	for info, err := range far.List(ctx, "", store.ListOptions{}) {
		if err != nil {
			return lagged{}, err
		}
		copied[info.Key] = info.Modified
	}
	worst := lagged{coarse: true}
	now := time.Now()
	for info, err := range near.List(ctx, "", store.ListOptions{}) {
		if err != nil {
			return lagged{}, err
		}
		if info.Modified.Before(since) || strings.HasPrefix(info.Key, store.ProbeFolder) {
			continue
		}
		at, there := copied[info.Key]
		if !there {
			at = now
		}
		worst.objects++
		worst.coarse = worst.coarse && info.Modified.Nanosecond() == 0 && at.Nanosecond() == 0
		worst.bytes += info.Size
		if lag := at.Sub(info.Modified); lag > worst.lag {
			worst.key, worst.lag = info.Key, lag
		}
	}
	if worst.objects == 0 {
		return worst, errors.New("nothing was stored under load")
	}
	return worst, nil
}
