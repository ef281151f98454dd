// Command lifeboat-wal is what PostgreSQL calls for each WAL file: lifeboat wal-push
// and lifeboat wal-fetch, with their arguments and exit codes, in a program that
// starts at once. It does the two things that are done most of the time: it asks the
// worker to push a file, and takes a file that lies in the spool of a recovery.
// Whatever else there is, it leaves to the lifeboat beside it, which it becomes
// (execve(2)): the contract of the exit codes stays in that one place.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/archiver/ask"
)

// Exit codes when there is no lifeboat to become; see starter/cli. To restore_command,
// 1 would be the end of the archive.
const (
	exitNotPushed = 1
	exitStop      = 126
)

func main() {
	debug.SetGCPercent(-1)      // it ends before there is anything to collect
	debug.SetTraceback("crash") // a defect of the runtime is no exit code that PostgreSQL knows
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	said, done := attempt(ctx, os.Args[1:], os.LookupEnv)
	if done {
		os.Exit(0)
	}
	interrupted := ctx.Err() != nil
	stop() // which ends ctx
	become(os.Args[1:], said, interrupted)
}

// attempt does what it can. said is what the worker said instead of pushing a file.
func attempt(ctx context.Context, args []string, env func(string) (string, bool)) (said string, done bool) {
	defer func() {
		if recover() != nil { // lifeboat tries, and tells
			said, done = "", false
		}
	}()
	a, understood := parse(args)
	switch {
	case !understood:
	case a.command == walPush:
		return push(ctx, a, env)
	case a.command == walFetch:
		done = fetch(ctx, a)
	}
	return said, done
}

// become goes on as lifeboat, which asks the worker again unless it has said something.
func become(args []string, said string, interrupted bool) {
	fail := func(reason error) {
		fmt.Fprintf(os.Stderr, "lifeboat-wal: go on as lifeboat: %v\nHINT: install lifeboat beside lifeboat-wal, or call it instead\n", reason)
		os.Exit(failure(args))
	}
	if interrupted {
		os.Exit(failure(args))
	}
	self, err := os.Executable()
	if err != nil {
		fail(err)
	}
	path := filepath.Join(filepath.Dir(self), "lifeboat")
	if same(self, path) {
		fail(fmt.Errorf("%s is this program itself", path))
	}
	environment := os.Environ()
	if said != "" {
		environment = append(environment, ask.EnvSaid+"="+strings.ReplaceAll(said, "\x00", "")) // or nothing can be started
	}
	err = syscall.Exec(path, append([]string{path}, args...), environment)
	fail(fmt.Errorf("%s: %w", path, err))
}

// same says whether two paths lead to one file: it would become itself for ever.
func same(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// failure is the exit code of a command line that came to nothing.
func failure(args []string) int {
	for _, arg := range args {
		if arg == walFetch {
			return exitStop
		}
	}
	return exitNotPushed
}
