// Command service starts, stops and reports the services of a lab, the way a
// service supervisor would:
//
//	service [--lab DIR] start|stop|status NAME
//
// start returns when the service is ready, stop when it has ended. status exits
// 0 when it runs and 3 when it does not; every failure exits 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/frende/lifeboat/internal/lab"
)

const (
	exitFailed  = 1
	exitUsage   = 2
	exitStopped = 3 // systemctl's code for a service that does not run
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	dir := flags.String("lab", ".lab", "directory of the lab")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: service [--lab DIR] start|stop|status NAME")
		return exitUsage
	}
	code, err := do(ctx, *dir, flags.Arg(0), flags.Arg(1))
	if err != nil {
		fmt.Fprintf(os.Stderr, "service: %v\n", err)
		return exitFailed
	}
	return code
}

func do(ctx context.Context, dir, verb, name string) (int, error) {
	l, err := lab.Open(dir)
	if err != nil {
		return 0, err
	}
	service, err := l.Service(name)
	if err != nil {
		return 0, err
	}
	switch verb {
	case "start":
		return 0, service.Start(ctx)
	case "stop":
		return 0, service.Stop(ctx)
	case "status":
		running, err := service.Running()
		if err != nil {
			return 0, err
		}
		if !running {
			fmt.Println("stopped")
			return exitStopped, nil
		}
		fmt.Println("running")
		return 0, nil
	}
	return 0, fmt.Errorf("unknown verb %q", verb)
}
