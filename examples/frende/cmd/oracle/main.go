package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	exitDisagrees = 1
	exitNoVerdict = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	agreed, err := do(ctx, args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "oracle: %v\n", err)
		return exitNoVerdict
	}
	if !agreed {
		return exitDisagrees
	}
	return 0
}

func do(ctx context.Context, args []string) (agreed bool, err error) {
	if len(args) == 0 {
		return false, errors.New("usage: oracle record|judge --config DIR --log FILE …")
	}
	switch args[0] {
	case "record":
		return true, doRecord(ctx, args[1:])
	case "judge":
		return doJudge(ctx, args[1:])
	}
	return false, fmt.Errorf("unknown verb %q", args[0])
}

func doRecord(ctx context.Context, args []string) error {
	var p plan
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	flags.StringVar(&p.config, "config", "config", "directory of Frende's configuration files")
	flags.StringVar(&p.app, "app", "", "URL of the application")
	flags.StringVar(&p.log, "log", "oracle.log", "file that is made and written to")
	flags.IntVar(&p.rows, "rows", 4, "streams of rows")
	flags.IntVar(&p.keys, "keys", 1, "streams of keys")
	flags.IntVar(&p.files, "files", 1, "streams of files")
	flags.DurationVar(&p.pace, "pace", 20*time.Millisecond, "between two writes of one stream, at least")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return record(ctx, p)
}

func doJudge(ctx context.Context, args []string) (bool, error) {
	var at point
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	config := flags.String("config", "config", "directory of Frende's configuration files")
	log := flags.String("log", "oracle.log", "log of record")
	flags.TextVar(&at.LSN, "restored-lsn", lsn(0), "WAL position that the database is said to be at")
	flags.Var(&at.Time, "restored-time", "FROM,TO: the times that the database is said to be at, judged besides; default: none")
	flags.Var(&at.Cache, "cache-window", "FROM,TO: when the keys were captured")
	flags.Var(&at.Files, "files-window", "FROM,TO: when the files were captured")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if at.LSN == 0 || at.Cache.From.IsZero() || at.Files.From.IsZero() {
		return false, errors.New("judge needs --restored-lsn, --cache-window and --files-window")
	}
	h, entries, err := readJournal(ctx, *log)
	if err != nil {
		return false, err
	}
	found, err := findSurvivors(ctx, *config, h)
	if err != nil {
		return false, err
	}
	v := judge(h, entries, found, at)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return v.Agreed, encoder.Encode(v)
}

// String and Set make a window a flag.
func (w *window) String() string {
	return w.From.Format(time.RFC3339Nano) + "," + w.To.Format(time.RFC3339Nano)
}

func (w *window) Set(text string) error {
	from, to, ok := strings.Cut(text, ",")
	if !ok {
		return errors.New("a window is FROM,TO")
	}
	var err, toErr error
	w.From, err = time.Parse(time.RFC3339Nano, from)
	w.To, toErr = time.Parse(time.RFC3339Nano, to)
	if err := errors.Join(err, toErr); err != nil {
		return err
	}
	if w.To.Before(w.From) {
		return errors.New("a window ends after it starts")
	}
	return nil
}
