package command

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// drainTime is how long output is still read after the group has ended; only a
// process that left the group can hold the pipe open that long.
const drainTime = 2 * time.Second

// Process is a program that was started. It ends when the context it was
// started under does.
type Process struct {
	command *Command
	cmd     *exec.Cmd
	started time.Time
	stdout  *tail
	stderr  *tail
	closers []io.Closer // redactors first, then files
	log     *os.File

	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	exited   chan struct{} // closed when the leader has exited, before it is reaped
	done     chan struct{} // closed when result and err are set
	result   Result
	err      error
}

// Start starts the program. The caller must call Wait or Stop.
func (c *Command) Start(ctx context.Context) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	credential, env, err := identity(c.name, c.config.User, c.config.Env)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path:        c.path,
		Args:        c.config.Argv,
		Dir:         c.config.Dir,
		Env:         env,
		Stdin:       c.config.Stdin,
		WaitDelay:   drainTime,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: credential},
	}
	p := &Process{
		command: c, cmd: cmd,
		stop: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
		stdout: &tail{limit: c.config.Capture}, stderr: &tail{limit: c.config.Capture},
	}
	if err := p.connect(); err != nil {
		return nil, err
	}
	p.started = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, firstError(fault.New(fault.CommandFailed, "start", c.name, plain(err)), p.close())
	}
	if err := p.record(); err != nil {
		killGroup(cmd.Process.Pid, syscall.SIGKILL)
		return nil, firstError(err, cmd.Wait(), p.close())
	}
	go p.watch(ctx)
	return p, nil
}

// connect joins the program's streams to their places.
func (p *Process) connect() error {
	config := p.command.config
	if config.Log != "" {
		log, err := os.OpenFile(config.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return fault.New(fault.PathFailed, "open log", config.Log, err)
		}
		p.log = log
	}
	if config.Daemon {
		p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
		return nil
	}
	p.cmd.Stdout = config.Stdout
	if config.Stdout == nil {
		p.cmd.Stdout = p.capture(p.stdout, nil)
	}
	p.cmd.Stderr = p.capture(p.stderr, config.Stderr)
	return nil
}

// capture gives a redacting writer into a tail, the log and another writer.
func (p *Process) capture(into *tail, also io.Writer) io.Writer {
	writers := []io.Writer{into}
	if p.log != nil {
		writers = append(writers, p.log)
	}
	if also != nil {
		writers = append(writers, also)
	}
	r := newRedactor(io.MultiWriter(writers...), p.command.config.Secrets)
	p.closers = append(p.closers, r)
	return r
}

func (p *Process) close() error {
	var errs []error
	for _, closer := range p.closers {
		errs = append(errs, closer.Close())
	}
	if p.log != nil {
		errs = append(errs, p.log.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.PathFailed, "keep output of", p.command.name, err)
	}
	return nil
}

// watch waits for the leader's exit and ends the group, early when ctx ends or
// Stop is called.
func (p *Process) watch(ctx context.Context) {
	defer close(p.done)
	go func() {
		defer close(p.exited)
		waitExit(p.cmd.Process.Pid)
	}()
	ended := byItself
	select {
	case <-p.exited:
	case <-ctx.Done():
		ended = byContext
		p.end()
	case <-p.stop:
		ended = byStop
		p.end()
	}
	// The leader is not reaped yet, so its id, and the group's, can't be another's.
	if !p.command.config.Daemon || ended != byItself {
		killGroup(p.cmd.Process.Pid, syscall.SIGKILL)
	}
	waitErr := p.cmd.Wait()
	p.result.Elapsed = time.Since(p.started)
	closeErr := p.close()
	p.result.Exit = p.cmd.ProcessState.ExitCode()
	p.stdout.cut()
	p.stderr.cut()
	if p.command.config.Stdout == nil {
		p.result.Stdout = p.stdout.kept
	}
	p.result.Stderr = p.stderr.kept
	p.result.Truncated = p.stdout.dropped || p.stderr.dropped
	p.err = firstError(p.outcome(ctx, ended, waitErr), closeErr, p.forget())
}

// ending is why a program ended.
type ending int

const (
	byItself ending = iota
	byContext
	byStop
)

// outcome is the error that the end of the program stands for.
func (p *Process) outcome(ctx context.Context, ended ending, waitErr error) error {
	switch {
	case ended == byStop:
		return nil
	case ended == byContext && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ended == byContext:
		return fault.Newf(fault.CommandFailed, "run", p.command.name, "it did not end within its time of %s", p.result.Elapsed.Round(time.Millisecond))
	case waitErr == nil, errors.Is(waitErr, exec.ErrWaitDelay) && p.result.Exit == 0:
		return nil
	default:
		return p.command.failed(p.result, waitErr)
	}
}

// end asks the group to end, and waits for the leader through the grace period.
func (p *Process) end() {
	signal, ok := p.command.config.StopSignal.(syscall.Signal)
	if !ok {
		signal = syscall.SIGTERM
	}
	killGroup(p.cmd.Process.Pid, signal)
	timer := time.NewTimer(p.command.config.Grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		killGroup(p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
}

// PID is the process id of the program, which is its group's, too.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the program. It may be called more than once.
func (p *Process) Wait() (Result, error) {
	<-p.done
	return p.result, p.err
}

// Stop ends the whole group: Config.StopSignal first, SIGKILL after
// Config.Grace. It returns when the program has ended; having been stopped is
// not an error, and stopping twice is harmless.
func (p *Process) Stop() Result {
	p.stopOnce.Do(func() { close(p.stop) })
	<-p.done
	return p.result
}

// waitExit waits until the process has exited, and leaves it to be reaped. An
// error means that there is nothing to wait for.
func waitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// killGroup signals a process group. The only error there can be for a group
// of ours, that it has ended, is what is wanted.
func killGroup(pgid int, signal syscall.Signal) {
	if pgid > 1 {
		_ = syscall.Kill(-pgid, signal)
	}
}

// plain drops the path that exec puts into its errors: argv stays out of them.
func plain(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	if lookup, ok := errors.AsType[*exec.Error](err); ok {
		return lookup.Err
	}
	return err
}

// firstError keeps one fault one fault: what goes wrong while cleaning up after
// it is a consequence.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
