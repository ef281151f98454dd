package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// DefaultGrace is how long a program may take to end by itself when it is
// asked to, before its group is killed.
const DefaultGrace = 10 * time.Second

// DefaultCapture is how many bytes of each output stream are kept.
const DefaultCapture = 64 << 10

// Config says which program is run, and how.
type Config struct {
	// Argv is the program and its arguments. A program without a slash is
	// looked for on the worker's PATH.
	Argv []string

	// Dir is the working directory; empty is "/".
	Dir string

	// Env is the complete environment, as "NAME=value". Nil is Base().
	Env []string

	// User is the operating system user to run as. Empty, and the user that
	// runs already, change nothing; another one needs root.
	User string

	Stdin io.Reader // nil: empty

	// Stdout receives the program's output as it is: it is data and not
	// redacted. Nil: the last Capture bytes are kept, redacted.
	Stdout io.Writer

	// Stderr receives the program's messages, redacted, beside the tail that
	// is always kept of them. May be nil.
	Stderr io.Writer

	// Log is a file that captured output is appended to (mode 0600). Errors
	// name it in their hint. A symbolic link is refused: the directory may be
	// another account's, and the worker root.
	Log string

	// Daemon says that the program leaves a server behind when it exits, as
	// "pg_ctl start" does. Its output then goes to Log (needed) directly and
	// is not redacted: a pipe would end with us and take the server along.
	Daemon bool

	// PIDFile is where the record of the running process is kept.
	PIDFile string

	// StopSignal asks the program to end; nil is SIGTERM.
	StopSignal os.Signal

	// Grace is the time between StopSignal and SIGKILL; 0 is DefaultGrace.
	Grace time.Duration

	// Capture is how many bytes of each stream are kept; 0 is DefaultCapture.
	Capture int

	// Secrets are values that must not appear in captured output or errors.
	Secrets []string
}

// Command is a program that may be run, once or more often.
type Command struct {
	config Config
	name   string
	path   string
}

// Result is what is known of a program that ended.
type Result struct {
	Exit      int           // exit status; -1 when a signal ended it
	Stdout    []byte        // redacted tail; nil when Config.Stdout was set
	Stderr    []byte        // redacted tail
	Truncated bool          // whether a tail is not the whole
	Elapsed   time.Duration // from start to exit
}

// New checks that the program exists and that the configuration makes sense,
// so that a missing tool is found before anything is touched. It fails with
// ConfigInvalid.
func New(config Config) (*Command, error) {
	if len(config.Argv) == 0 || config.Argv[0] == "" {
		return nil, fault.Newf(fault.ConfigInvalid, "run", "program", "the argument vector is empty")
	}
	name := filepath.Base(config.Argv[0])
	if config.Daemon && config.Log == "" {
		return nil, fault.Newf(fault.ConfigInvalid, "run", name, "a program that leaves a server behind needs a log file")
	}
	if config.Daemon && config.Stdout != nil {
		return nil, fault.Newf(fault.ConfigInvalid, "run", name, "the output of a program that leaves a server behind can't be read")
	}
	path := config.Argv[0]
	if !strings.Contains(path, "/") {
		found, err := exec.LookPath(path)
		if err != nil {
			return nil, missing(name, err)
		}
		path = found
	} else if filepath.IsAbs(path) {
		if _, err := os.Stat(path); err != nil {
			return nil, missing(name, err)
		}
	}
	if config.Dir == "" {
		config.Dir = "/"
	}
	if config.Env == nil {
		config.Env = Base()
	}
	if config.Grace == 0 {
		config.Grace = DefaultGrace
	}
	if config.Capture == 0 {
		config.Capture = DefaultCapture
	}
	if config.StopSignal == nil {
		config.StopSignal = syscall.SIGTERM
	}
	return &Command{config: config, name: name, path: path}, nil
}

func missing(name string, cause error) error {
	return fault.New(fault.ConfigInvalid, "run", name, cause).
		WithHint("install %s on this host, or correct its path in lifeboat.yaml", name)
}

// Run makes and runs the program of config, and waits for its end.
func Run(ctx context.Context, config Config) (Result, error) {
	program, err := New(config)
	if err != nil {
		return Result{Exit: -1}, err
	}
	return program.Run(ctx)
}

// Run starts the program and waits for its end. An exit status other than 0 is
// CommandFailed, and the Result is filled in then, too. When ctx is cancelled
// the group has ended before Run returns ctx's error.
func (c *Command) Run(ctx context.Context) (Result, error) {
	process, err := c.Start(ctx)
	if err != nil {
		return Result{Exit: -1}, err
	}
	return process.Wait()
}

// failed makes the error of a program that ended badly.
func (c *Command) failed(result Result, cause error) error {
	text := fmt.Sprintf("exit status %d", result.Exit)
	if ended, ok := errors.AsType[*exec.ExitError](cause); ok {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			text = "ended by signal " + status.Signal().String()
		}
	} else if cause != nil {
		text = cause.Error()
	}
	if line := lastLine(result.Stderr); line != "" {
		text += ": " + line
	} else if line := lastLine(result.Stdout); line != "" {
		text += ": " + line
	}
	failure := fault.New(fault.CommandFailed, "run", c.name, errors.New(text))
	if c.config.Log != "" {
		failure = failure.WithHint("read %s", c.config.Log)
	}
	return failure
}

// longestLine bounds what an error repeats of a program's words.
const longestLine = 160

// lastLine is the last line of output that is not empty, shortened and cleaned
// of what looks like a credential, whoever registered it or not.
func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	line := strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "?")
	line = scrub(line)
	if runes := []rune(line); len(runes) > longestLine {
		line = string(runes[:longestLine]) + "…"
	}
	return line
}
