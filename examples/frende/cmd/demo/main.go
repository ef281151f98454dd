package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/lab"
)

// chaos is what else goes wrong.
type chaos string

const (
	noChaos       chaos = ""
	chaosWorker   chaos = "worker"
	chaosTemporal chaos = "temporal"
	chaosChunk    chaos = "chunk"  // damaged in one region
	chaosChunks   chaos = "chunks" // damaged in both
)

// disaster is what happens to the system.
type disaster string

const (
	disasterSystem disaster = ""           // servers killed, their data deleted
	disasterRegion disaster = "region"     // and the primary region's store is gone, too
	disasterDrill  disaster = "drill"      // none: it is rehearsed beside the living system
	disasterTable  disaster = "drop-table" // somebody drops a table, and everything goes on
)

// options are the flags of the demo.
type options struct {
	dir        string
	seed       uint64
	megabytes  int64
	photoCount int
	keys       int
	settle     time.Duration // from the backup to the disaster, at least
	spread     time.Duration // random addition to settle
	archive    time.Duration // archive_timeout of PostgreSQL; bounds how much of the newest work can be lost
	chaos      chaos
	disaster   disaster
	keep       bool
	clean      bool
	programs   string // folder of the programs that are built; empty: they are built in the lab
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Getenv)
	if err == nil && o.clean {
		err = clean(ctx, o.dir, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(2)
	}
	if !o.clean && !tell(ctx, o, os.Stdout) {
		os.Exit(1)
	}
}

// clean ends and removes what an earlier demo left, and says what that was.
func clean(ctx context.Context, dir string, out io.Writer) error {
	found := earlier(dir)
	if err := lab.Remove(ctx, dir); err != nil {
		return err
	}
	if found == "" {
		found = "nothing: no demo was left in " + dir
	}
	fmt.Fprintf(out, "ended and removed: %s\n", found)
	return nil
}

// earlier tells what an earlier demo left in a directory; "" is nothing.
func earlier(dir string) string {
	left, err := lab.Open(dir)
	if err != nil {
		return ""
	}
	services, err := left.Services()
	if err != nil {
		return ""
	}
	running := 0
	for _, service := range services {
		if runs, err := service.Running(); err == nil && runs {
			running++
		}
	}
	return fmt.Sprintf("the demo in %s, of which %d programs ran", dir, running)
}

func parse(args []string, env func(string) string) (options, error) {
	o := options{chaos: chaos(env("CHAOS")), disaster: disaster(env("DISASTER")), keep: env("KEEP") != "" && env("KEEP") != "0"}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&o.dir, "dir", ".lab", "directory of the lab")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%100_000, "of the data and of the moment of the disaster")
	flags.Int64Var(&o.megabytes, "database", 200, "size of the tables in PostgreSQL, in MiB, about")
	flags.IntVar(&o.photoCount, "photos", 2000, "photos on disk")
	flags.IntVar(&o.keys, "keys", 20000, "keys in Redis")
	flags.DurationVar(&o.settle, "settle", 61*time.Second, "from the backup to the disaster, at least")
	flags.DurationVar(&o.spread, "spread", 15*time.Second, "random addition to -settle")
	flags.DurationVar(&o.archive, "archive-timeout", time.Minute, "of PostgreSQL, in whole seconds")
	flags.BoolVar(&o.clean, "clean", false, "end what an earlier demo left running, and remove it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch o.chaos {
	case noChaos, chaosWorker, chaosTemporal, chaosChunk, chaosChunks:
	default:
		return o, fmt.Errorf("CHAOS is worker, temporal, chunk or chunks, not %q", o.chaos)
	}
	switch o.disaster {
	case disasterSystem:
	case disasterRegion, disasterDrill, disasterTable:
		if o.chaos != noChaos {
			return o, fmt.Errorf("DISASTER=%s goes without CHAOS", o.disaster)
		}
	default:
		return o, fmt.Errorf("DISASTER is region, drill or drop-table, not %q", o.disaster)
	}
	return o, nil
}

// demo is one run of the story.
type demo struct {
	options
	out     io.Writer
	started time.Time
	random  *rand.Rand
	root    string // of the project
	lab     *lab.Lab
	laid    bool   // all of the ground, and it runs
	harmed  string // key of the object that was damaged
	ground
}

// tell runs the story and says whether it ended well.
func tell(ctx context.Context, o options, out io.Writer) bool {
	d := &demo{options: o, out: out, started: time.Now(), random: rand.New(rand.NewPCG(o.seed, 0))}
	line, err := d.story(ctx)
	if endErr := d.end(context.WithoutCancel(ctx)); endErr != nil {
		err = errors.Join(err, endErr)
	}
	if err != nil {
		fmt.Fprintf(out, "NOT RECOVERED frende: %s\n", strings.Join(strings.Fields(err.Error()), " "))
		return false
	}
	fmt.Fprintln(out, line)
	return true
}

// story is the whole of it, in order. It gives the last line.
func (d *demo) story(ctx context.Context) (string, error) {
	for _, stage := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"install what is missing", d.install},
		{"start the lab", d.lay},
		{"load Frende with data", d.fill},
		{"let the oracle write through the application, all the while", d.startOracle},
		{"back up the system", d.backUp},
		{"prepare the chaos", d.prepareChaos},
		{"let life go on", d.live},
	} {
		d.say("%s", stage.title)
		if err := stage.do(ctx); err != nil {
			return "", fmt.Errorf("%s: %w", stage.title, err)
		}
	}
	switch d.disaster {
	case disasterDrill:
		return d.rehearse(ctx)
	case disasterTable:
		return d.accidentAndRecovery(ctx)
	}
	return d.disasterAndRecovery(ctx)
}

// say tells what happens now, with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n[%6.1fs] %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) note(format string, args ...any) {
	fmt.Fprintf(d.out, "          %s\n", fmt.Sprintf(format, args...))
}

// end ends the servers, or says how to look around.
func (d *demo) end(ctx context.Context) error {
	if d.lab == nil {
		return nil
	}
	if d.keep && !d.laid {
		d.say("what was started is left running, its logs are in %s; end and remove it with: make clean", d.lab.Path("log"))
		return nil
	}
	if d.keep {
		d.say("everything is left running; end and remove it with: make clean")
		d.note("Temporal Web UI %s, Frende http://%s", d.temporal.UIAddress, d.frontend)
		d.note("export LIFEBOAT_CONFIG=%s TEMPORAL_ADDRESS=%s; %s backups list", d.lifeboatYAML(), d.temporal.Address, d.program("lifeboat"))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return d.lab.End(ctx)
}

// install runs the project's installer, which says what it does.
func (d *demo) install(ctx context.Context) (err error) {
	if d.root, err = project(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(d.root, "tools", "install"), "servers")
	cmd.Stdout, cmd.Stderr = d.out, d.out
	return cmd.Run()
}

// project gives the project's folder.
func project(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the project's folder: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}
