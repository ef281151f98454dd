// Command lifeboat starts, watches and answers the recoveries, backups and
// drills of a system, and serves PostgreSQL's archive_command and
// restore_command. See: lifeboat --help
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/frende/lifeboat/starter/cli"
)

func main() {
	if slices.Contains(os.Args[1:], "wal-fetch") {
		debug.SetTraceback("crash") // what recover() does not see would exit with 2: PostgreSQL's end of the archive
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Process{
		Args:   os.Args[1:],
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Env:    os.LookupEnv,
		Now:    time.Now,
		Screen: screen,
	})
	stop()
	os.Exit(code)
}

// screen gives the size of the terminal that stdout is, or 0 when it is none, or
// one that moves no cursor.
func screen() (width, height int) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || os.Getenv("TERM") == "dumb" {
		return 0, 0
	}
	return width, height
}
