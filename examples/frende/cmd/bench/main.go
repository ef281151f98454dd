package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// options are the flags of the benchmarks.
type options struct {
	only    []string
	runs    int
	stream  int64 // MiB
	cluster int64 // MiB
	dir     string
	serve   string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil && o.serve != "" {
		err = serve(ctx, o.serve)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	}
	if o.serve == "" && !(&bench{options: o, out: os.Stdout}).run(ctx) {
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Func("only", "measure only the figures of these `NAMES`, with commas", func(names string) error {
		o.only = strings.Split(names, ",")
		return nil
	})
	flags.IntVar(&o.runs, "runs", 3, "of what is measured several times")
	flags.Int64Var(&o.stream, "stream", 8192, "size of the generated stream, in MiB")
	flags.Int64Var(&o.cluster, "cluster", 2048, "size of the tables that are compared, in MiB, about")
	flags.StringVar(&o.dir, "dir", ".lab-bench", "directory of the labs")
	flags.StringVar(&o.serve, "serve", "", "be the worker that is measured, and listen at `ADDRESS` when it works; the benchmark starts it so")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(suites(), func(s suite) bool { return slices.Contains(s.figures, name) }) {
			return o, fmt.Errorf("there is no figure %q", name)
		}
	}
	if o.runs < 1 || flags.NArg() > 0 {
		return o, errors.New("-runs is at least 1, and there are no arguments")
	}
	return o, nil
}

// suite is figures that share a ground.
type suite struct {
	name    string
	figures []string
	measure func(*bench, context.Context) error
}

func suites() []suite {
	return []suite{
		{"frende", []string{"demo", "recovery_overhead", "status", "drill", "replication_lag", "resumption", "memory_backup", "memory_verify"}, (*bench).frende},
		{"peers", []string{
			"backup_pgbackrest", "stored_pgbackrest", "restore_pgbackrest", "delta_restore", "repeat_unchanged", "repeat_uniform_pgbackrest", "repeat_clustered_pgbackrest", "memory_cluster",
		}, (*bench).peers},
		{"archive", []string{"wal_push_p50", "wal_push_sustained", "wal_fetch_sustained", "replay"}, (*bench).archive},
		{"dumps", []string{"dump", "restore_dump"}, (*bench).dumps},
		{"report", []string{"report_html_200_steps", "report_html_200_steps_size"}, (*bench).report},
	}
}

// bench is one run of the benchmarks.
type bench struct {
	options
	out    io.Writer
	root   string // of the project
	missed []string
}

// run measures everything and says whether every figure is what it must be.
func (b *bench) run(ctx context.Context) bool {
	b.describeMachine()
	var failed []string
	warmErr := b.warm(ctx)
	if warmErr != nil {
		failed = append(failed, warmErr.Error())
	}
	for _, s := range suites() {
		if warmErr != nil || !b.wants(s.figures...) {
			continue
		}
		if err := s.measure(b, ctx); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", s.name, err))
		}
	}
	b.note("load average at the end: %s", loadAverage())
	for _, name := range b.missed {
		fmt.Fprintf(os.Stderr, "bench: %s misses what it must be\n", name)
	}
	for _, reason := range failed {
		fmt.Fprintf(os.Stderr, "bench: %s\n", reason)
	}
	return len(b.missed)+len(failed) == 0
}

// wants says whether one of these figures is to be measured.
func (b *bench) wants(names ...string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(b.only, name) })
}

// note prints what is not a figure.
func (b *bench) note(format string, args ...any) {
	fmt.Fprintf(b.out, "# %s\n", fmt.Sprintf(format, args...))
}

// warm finds the project and builds it once, so that what is timed does not compile.
func (b *bench) warm(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the project's folder: %w", err)
	}
	b.root = strings.TrimSpace(string(output))
	cmd := exec.CommandContext(ctx, "go", "build", "./starter", "./worker", "./examples/...")
	cmd.Dir = b.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, output)
	}
	return nil
}
