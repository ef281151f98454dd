package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

const (
	tick         = 10 * time.Millisecond // between two looks at a condition
	defaultStart = 60 * time.Second      // until a program answers
	defaultStop  = 60 * time.Second      // until a program that was asked has ended
	logTail      = 2 << 10               // bytes of the log that a failure quotes
)

// Program is how a service is started, now and later.
type Program struct {
	Name  string         `json:"name"`
	Args  []string       `json:"args"`            // the first is an absolute path
	Env   []string       `json:"env,omitempty"`   // besides PATH, HOME and LANG
	Dir   string         `json:"dir,omitempty"`   // default: the lab's directory
	Stop  syscall.Signal `json:"stop,omitempty"`  // that asks it to end; default SIGTERM
	Ready string         `json:"ready,omitempty"` // URL that answers when it is ready: tcp, http, postgres, redis, temporal
}

// Service is a program of a lab. It may run or not, and may have been started
// by another process.
type Service struct {
	lab     *Lab
	program Program
}

// Name of the service in its lab.
func (s *Service) Name() string { return s.program.Name }

// LogFile is where the service's output goes.
func (s *Service) LogFile() string { return s.lab.Path("log", s.program.Name+".log") }

func (s *Service) recordFile() string { return s.lab.Path("run", s.program.Name+".json") }

func (s *Service) record() (record, bool, error) {
	raw, err := os.ReadFile(s.recordFile())
	if errors.Is(err, os.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fault.New(fault.PathFailed, "read process record", s.Name(), err)
	}
	var found record
	if err := json.Unmarshal(raw, &found); err != nil {
		return record{}, false, fault.New(fault.PathFailed, "read process record", s.Name(), err)
	}
	return found, true, nil
}

// Running says whether the service's process is there.
func (s *Service) Running() (bool, error) {
	found, ok, err := s.record()
	return ok && found.alive(), err
}

// PID gives the process number of the service, 0 when it does not run.
func (s *Service) PID() (int, error) {
	found, ok, err := s.record()
	if err != nil || !ok || !found.alive() {
		return 0, err
	}
	return found.PID, nil
}

// Start starts the service and returns when it is ready. Starting one that
// runs only waits until it is ready. When its process ends before that, the
// error quotes the end of its log. One that finds its port in use is started
// again: who else looks for a free port holds each of them for a moment.
func (s *Service) Start(ctx context.Context) error {
	var err error
	for range mostStarts {
		var running bool
		if running, err = s.Running(); err != nil {
			return err
		}
		if !running {
			if err := s.spawn(ctx); err != nil {
				return fault.New(fault.ServerFailed, "start", s.Name(), err)
			}
		}
		err = s.AwaitReady(ctx)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), syscall.EADDRINUSE.Error()) {
			return err
		}
	}
	return err
}

// mostStarts is how often a service is started whose port is in use.
const mostStarts = 3

// AwaitReady waits until the service answers.
func (s *Service) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, defaultStart)
	defer cancel()
	var last error
	err := await(ctx, func() (bool, error) {
		running, err := s.Running()
		if err != nil {
			return false, err
		}
		if !running {
			return false, fmt.Errorf("its process ended: %s", s.tail())
		}
		last = probe(ctx, s.program.Ready)
		return last == nil, nil
	})
	if err != nil {
		return fault.New(fault.ServerFailed, "await", s.Name(), errors.Join(err, last)).WithHint("read %s", s.LogFile())
	}
	return nil
}

// spawn starts the process, which outlives ctx, and writes its record.
func (s *Service) spawn(ctx context.Context) (err error) {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the child has its own
	if err := s.lab.Account.Own(s.LogFile()); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.program.Args[0], s.program.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.program.Dir
	if cmd.Dir == "" {
		cmd.Dir = s.lab.Dir
	}
	cmd.Env = append(s.lab.environment(), s.program.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.lab.tethered {
		cmd.SysProcAttr.Pdeathsig = s.stopSignal()
	}
	s.lab.Account.Become(cmd)
	started := make(chan error, 1)
	go func() {
		// A parent-death signal comes when the thread ends that started the
		// child (prctl(2)), so this thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // collects it; how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	found, err := recordOf(cmd.Process.Pid, s.program.Args)
	if err != nil {
		return fmt.Errorf("its process ended at once: %s", s.tail())
	}
	// The kernel shows the new command line a moment after the program has been
	// put in place, which is all that Start waits for.
	shown, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	if err := await(shown, func() (bool, error) { return found.alive(), nil }); err != nil {
		return fmt.Errorf("its process ended at once: %s", s.tail())
	}
	raw, err := json.Marshal(found)
	if err != nil {
		return err
	}
	return s.lab.write(s.recordFile(), raw, 0o644)
}

// Stop asks the service to end and waits until it has. Stopping one that does
// not run is no error.
func (s *Service) Stop(ctx context.Context) error { return s.stop(ctx, s.stopSignal()) }

func (s *Service) stopSignal() syscall.Signal {
	if s.program.Stop != 0 {
		return s.program.Stop
	}
	return syscall.SIGTERM
}

func (s *Service) stop(ctx context.Context, sig syscall.Signal) error {
	found, ok, err := s.record()
	if err != nil || !ok {
		return err
	}
	if err := found.signal(sig); err != nil {
		return fault.New(fault.ServerFailed, "stop", s.Name(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, defaultStop)
	defer cancel()
	return s.Wait(ctx)
}

// Kill ends the service and everything it has started with SIGKILL, and
// returns when they are gone. It gives the time of the signal.
func (s *Service) Kill(ctx context.Context) (time.Time, error) {
	found, ok, err := s.record()
	at := time.Now()
	if err != nil || !ok {
		return at, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultStop)
	defer cancel()
	if err := found.kill(ctx); err != nil {
		return at, fault.New(fault.ServerFailed, "kill", s.Name(), err)
	}
	return at, nil
}

// KillAlone ends the service's own process with SIGKILL, as the kernel does when
// memory runs out, and leaves what it has started. It returns when it is gone.
func (s *Service) KillAlone(ctx context.Context) (time.Time, error) {
	at := time.Now()
	return at, s.stop(ctx, syscall.SIGKILL)
}

// Wait returns when the service's process has ended.
func (s *Service) Wait(ctx context.Context) error {
	err := await(ctx, func() (bool, error) {
		running, err := s.Running()
		return !running, err
	})
	if err != nil {
		return fault.New(fault.ServerFailed, "await the end of", s.Name(), err).WithHint("read %s", s.LogFile())
	}
	return nil
}

// tail quotes the end of the log, for a failure.
func (s *Service) tail() string {
	file, err := os.Open(s.LogFile())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	raw, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-logTail), logTail))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(raw))
}

// await looks again and again until done says so, fails, or the context ends.
func await(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// write puts a small file in place whole, for the account.
func (l *Lab) write(path string, content []byte, mode os.FileMode) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return err
	}
	if err := l.Account.Own(temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
