package service_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

// daemon makes a service of a real process that its start command leaves behind.
func daemon(t *testing.T) (system.Service, string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, script string) []string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncd "+dir+"\necho "+name+" >> calls\n"+script+"\n"), 0o700))
		return []string{path}
	}
	s := system.Service{
		Name: "backend", Kind: system.ServiceCommand, Timeout: system.Duration(time.Minute),
		Start:  write("start", "setsid sleep 300 & echo $! > pid; echo up"),
		Stop:   write("stop", "kill $(cat pid)"),
		Status: write("status", `test -f pid && kill -0 $(cat pid) 2>/dev/null && exit 0; exit 3`),
	}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(dir, "pid")); err == nil {
			_, err := service.New(service.Config{LogDir: dir}).Stop(context.Background(), s)
			require.NoError(t, err)
		}
	})
	return s, dir
}

func calls(t *testing.T, dir, name string) int {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	return strings.Count(string(body), name+"\n")
}

func TestStartAndStopBringAServiceThereOnce(t *testing.T) {
	s, dir := daemon(t)
	control := service.New(service.Config{LogDir: dir, Poll: 10 * time.Millisecond})
	state, err := control.Status(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, service.Stopped, state)

	for i := range 2 {
		changed, err := control.Start(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, i == 0, changed)
	}
	state, err = control.Status(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, service.Running, state)
	require.Equal(t, 1, calls(t, dir, "start"))
	log, err := os.ReadFile(filepath.Join(dir, "lifeboat-service-backend.log"))
	require.NoError(t, err)
	require.Equal(t, "up\n", string(log))

	for i := range 2 {
		changed, err := control.Stop(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, i == 0, changed)
	}
	require.Equal(t, 1, calls(t, dir, "stop"))
}

func TestAServiceThatDoesNotComeUpIsNamedWithItsLog(t *testing.T) {
	dir := t.TempDir()
	control := service.New(service.Config{LogDir: dir, Poll: 5 * time.Millisecond})
	s := system.Service{
		Name: "backend", Kind: system.ServiceCommand, Timeout: system.Duration(2 * time.Second),
		Start: []string{"true"}, Stop: []string{"true"}, Status: []string{"/bin/sh", "-c", "exit 3"},
	}
	_, err := control.Start(t.Context(), s)
	require.True(t, fault.Has(err, fault.ServiceFailed), "%v", err)
	require.ErrorContains(t, err, "start service backend")
	require.ErrorContains(t, err, "was not running after 2s")
	require.Equal(t, "read its log: "+filepath.Join(dir, "lifeboat-service-backend.log"), fault.HintOf(err))

	s.Timeout = system.Duration(time.Minute)
	s.Start = []string{"/bin/sh", "-c", "exit 9"}
	_, err = control.Start(t.Context(), s)
	require.True(t, fault.Has(err, fault.ServiceFailed), "%v", err)
	require.ErrorContains(t, err, "exit status 9")
	require.NotContains(t, err.Error(), "program failed", "one fault, not two")

	s.Status = []string{"/bin/sh", "-c", "exit 4"}
	_, err = control.Status(t.Context(), s)
	require.True(t, fault.Has(err, fault.ServiceFailed), "%v", err)
}

func TestCancelWhileWaitingIsACancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	s := system.Service{
		Name: "backend", Kind: system.ServiceCommand, Timeout: system.Duration(time.Minute),
		Start: []string{"touch", dir + "/started"}, Stop: []string{"true"}, Status: []string{"/bin/sh", "-c", "exit 3"},
	}
	go func() {
		for range time.Tick(5 * time.Millisecond) {
			if ctx.Err() != nil {
				return
			}
			if _, err := os.Stat(dir + "/started"); err == nil {
				cancel()
			}
		}
	}()
	_, err := service.New(service.Config{LogDir: dir}).Start(ctx, s)
	require.ErrorIs(t, err, context.Canceled)
}

// standIn is a program in place of systemctl or docker, for hosts that run
// neither. It keeps a unit's state in a file and writes its arguments down.
func standIn(t *testing.T, script string) (program, dir string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(dir, "stand-in")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\ncd "+dir+"\necho \"$*\" >> calls\n"+script), 0o700))
	return program, dir
}

func told(t *testing.T, dir string) []string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(body)), "\n")
}

const systemctl = `
case "$1" in
show) printf 'LoadState=%s\nActiveState=%s\n' "$(cat load 2>/dev/null || echo loaded)" "$(cat state)" ;;
start) echo "$(cat next 2>/dev/null || echo active)" > state ;;
stop) echo inactive > state ;;
reset-failed) echo inactive > state ;;
esac
`

func TestSystemdUnitsAreStartedAfterForgettingTheirFailures(t *testing.T) {
	program, dir := standIn(t, systemctl)
	control := service.New(service.Config{Systemctl: program, Poll: 5 * time.Millisecond})
	s := system.Service{Name: "frende-backend", Kind: system.ServiceSystemd, Unit: "frende-backend.service", Timeout: system.Duration(time.Minute)}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "state"), []byte("failed"), 0o600))

	changed, err := control.Stop(t.Context(), s)
	require.NoError(t, err)
	require.False(t, changed, "what failed does not run")
	changed, err = control.Start(t.Context(), s)
	require.NoError(t, err)
	require.True(t, changed)
	show := "show --property=LoadState --property=ActiveState -- frende-backend.service"
	require.Equal(t, []string{
		show, show, show,
		"reset-failed --no-ask-password -- frende-backend.service", "start --no-ask-password -- frende-backend.service", show,
	}, told(t, dir))
	changed, err = control.Stop(t.Context(), s)
	require.NoError(t, err)
	require.True(t, changed)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "next"), []byte("failed"), 0o600))
	_, err = control.Start(t.Context(), s)
	require.True(t, fault.Has(err, fault.ServiceFailed), "%v", err)
	require.Equal(t, "read its log: journalctl -u frende-backend.service", fault.HintOf(err))
}

func TestSystemdStatesAreUnderstood(t *testing.T) {
	program, dir := standIn(t, systemctl)
	control := service.New(service.Config{Systemctl: program})
	s := system.Service{Name: "frende-backend", Kind: system.ServiceSystemd}
	for said, want := range map[string]service.State{
		"active": service.Running, "reloading": service.Running, "inactive": service.Stopped, "failed": service.Failed,
		"activating": service.Changing, "deactivating": service.Changing,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "state"), []byte(said), 0o600))
		state, err := control.Status(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, want, state, said)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "load"), []byte("not-found"), 0o600))
	_, err := control.Status(t.Context(), s)
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.ErrorContains(t, err, "there is no unit frende-backend")
}

func TestComposeServicesAreStartedAlone(t *testing.T) {
	program, dir := standIn(t, `
shift 3
case "$1 $2 $3" in
"ps --all --quiet") cat all 2>/dev/null ;;
"ps --status running") cat up 2>/dev/null ;;
"up --detach --no-deps") echo 1 > all; echo 1 > up ;;
stop*) rm up ;;
esac
true
`)
	control := service.New(service.Config{Docker: program, Poll: 5 * time.Millisecond})
	s := system.Service{Name: "web", Kind: system.ServiceCompose, Project: dir, Timeout: system.Duration(20 * time.Second)}
	changed, err := control.Start(t.Context(), s)
	require.NoError(t, err)
	require.True(t, changed)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all"), []byte("1\n2\n"), 0o600))
	state, err := control.Status(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, service.Changing, state, "one of two containers runs")
	changed, err = control.Stop(t.Context(), s)
	require.NoError(t, err)
	require.True(t, changed)
	lines := strings.Join(told(t, dir), "\n")
	prefix := fmt.Sprintf("compose --project-directory %s ", dir)
	require.Contains(t, lines, prefix+"up --detach --no-deps --no-recreate web")
	require.Contains(t, lines, prefix+"stop --timeout 15 web")
}

func TestServicesThatCanNotWorkAreRefusedByName(t *testing.T) {
	control := service.New(service.Config{Systemctl: "/no/such/systemctl"})
	for _, s := range []system.Service{
		{Name: "backend", Kind: "cron"},
		{Name: "backend", Kind: system.ServiceCommand, Start: []string{"true"}},
		{Name: "backend", Kind: system.ServiceSystemd},
	} {
		_, err := control.Start(t.Context(), s)
		require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	}
}

func TestCheckNamesTheProgramThatIsMissingAndRunsNone(t *testing.T) {
	s, dir := daemon(t)
	control := service.New(service.Config{LogDir: dir, Systemctl: filepath.Join(dir, "systemctl")})
	require.NoError(t, control.Check(s))
	require.NoFileExists(t, filepath.Join(dir, "calls"))

	gone := s
	gone.Start = []string{filepath.Join(dir, "launch")}
	err := control.Check(gone)
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.ErrorContains(t, err, "backend")
	require.ErrorContains(t, err, filepath.Join(dir, "launch"))
	require.Contains(t, fault.HintOf(err), "backend")

	err = control.Check(system.Service{Name: "backend", Kind: system.ServiceSystemd})
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.ErrorContains(t, err, "systemctl")
}
