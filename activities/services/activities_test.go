package services_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/services"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

// switchable is a service whose state is a file, and which writes down when it was switched.
func switchable(dir, name string) system.Service {
	sh := func(script string) []string { return []string{"/bin/sh", "-c", "cd " + dir + "; " + script} }
	return system.Service{
		Name: name, Kind: system.ServiceCommand, Timeout: system.Duration(time.Minute),
		Start:  sh("touch " + name + "; echo start " + name + " >> order"),
		Stop:   sh("rm " + name + "; echo stop " + name + " >> order"),
		Status: sh("test -f " + name + " || exit 3"),
	}
}

func environment(t *testing.T, a *services.Activities) *testsuite.TestActivityEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	return env
}

func run[T any](t *testing.T, env *testsuite.TestActivityEnvironment, activity, in any) (T, error) {
	t.Helper()
	var out T
	value, err := env.ExecuteActivity(activity, in)
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	dir := t.TempDir()
	a := services.New(services.Deps{Control: service.New(service.Config{LogDir: dir, Poll: 5 * time.Millisecond})})
	env := environment(t, a)
	var beats []services.Result
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		var beat services.Result
		require.NoError(t, details.Get(&beat))
		beats = append(beats, beat)
	})
	all := []system.Service{switchable(dir, "backend-1"), switchable(dir, "backend-2"), switchable(dir, "frontend")}

	before, err := run[services.Result](t, env, a.Status, services.StatusInput{Services: all})
	require.NoError(t, err)
	require.Equal(t, "stopped stopped stopped", states(before))
	started, err := run[services.Result](t, env, a.Start, services.StartInput{Services: all})
	require.NoError(t, err)
	require.Equal(t, "running running running", states(started))
	require.True(t, started.Services[0].Changed)
	again, err := run[services.Result](t, env, a.Start, services.StartInput{Services: all})
	require.NoError(t, err)
	require.False(t, again.Services[0].Changed)
	stopped, err := run[services.Result](t, env, a.Stop, services.StopInput{Services: all})
	require.NoError(t, err)
	require.Equal(t, "frontend", stopped.Services[0].Name)
	require.Equal(t, "stopped stopped stopped", states(stopped))
	require.NotEmpty(t, beats)
	require.NotEmpty(t, beats[0].Services[0].Name)

	order, err := os.ReadFile(filepath.Join(dir, "order"))
	require.NoError(t, err)
	require.Equal(t, "start backend-1\nstart backend-2\nstart frontend\nstop frontend\nstop backend-2\nstop backend-1\n", string(order))
}

func states(r services.Result) string {
	var all []string
	for _, s := range r.Services {
		all = append(all, s.State)
	}
	return strings.Join(all, " ")
}

func TestAServiceThatFailsIsNamed(t *testing.T) {
	dir := t.TempDir()
	a := services.New(services.Deps{Control: service.New(service.Config{LogDir: dir, Poll: 5 * time.Millisecond})})
	broken := switchable(dir, "backend-2")
	broken.Start = []string{"false"}
	_, err := run[services.Result](t, environment(t, a), a.Start, services.StartInput{Services: []system.Service{switchable(dir, "backend-1"), broken}})
	require.Error(t, err)
	require.ErrorContains(t, err, "start service backend-2")
	require.FileExists(t, filepath.Join(dir, "backend-1"))
}

func TestMigrationsSeeTheDatabaseAndTellNoSecret(t *testing.T) {
	dir := t.TempDir()
	a := services.New(services.Deps{Secret: func(system.SecretRef) ([]byte, error) {
		return []byte("postgres://owner:hunter2-long@db.example:6432/postgres?sslmode=require"), nil
	}})
	env := environment(t, a)
	database := system.Database{Name: "frende", Database: "frende", Connection: "env:FRENDE_DSN"}
	migration := system.Migration{
		Name: "schema", Database: "frende", Dir: dir, Timeout: system.Duration(time.Minute),
		Command: []string{"/bin/sh", "-c", "env | grep ^PG | sort > seen"},
	}
	result, err := run[services.MigrateResult](t, env, a.Migrate, services.MigrateInput{Migration: migration, Database: database})
	require.NoError(t, err)
	require.Equal(t, "schema", result.Name)
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	require.NoError(t, err)
	require.Equal(t, "PGDATABASE=frende\nPGHOST=db.example\nPGPASSWORD=hunter2-long\nPGPORT=6432\nPGSSLMODE=require\nPGUSER=owner\n", string(seen))

	migration.Command = []string{"/bin/sh", "-c", "echo login with $PGPASSWORD refused >&2; exit 3"}
	_, err = run[services.MigrateResult](t, env, a.Migrate, services.MigrateInput{Migration: migration, Database: database})
	require.Error(t, err)
	require.ErrorContains(t, err, "migrate schema: migration failed: sh: exit status 3: login with [redacted] refused")
	require.NotContains(t, err.Error(), "hunter2")

	a = services.New(services.Deps{Secret: func(system.SecretRef) ([]byte, error) { return []byte("postgres://owner:hunter2@:bad"), nil }})
	_, err = run[services.MigrateResult](t, environment(t, a), a.Migrate, services.MigrateInput{Migration: migration, Database: database})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestFaultsKeepTheirKindOnTheWayThroughTemporal(t *testing.T) {
	a := services.New(services.Deps{Secret: func(ref system.SecretRef) ([]byte, error) {
		return nil, fault.Newf(fault.SecretUnavailable, "resolve secret", string(ref), "the environment variable is not set")
	}})
	_, err := a.Migrate(t.Context(), services.MigrateInput{Database: system.Database{Connection: "env:FRENDE_DSN"}})
	require.True(t, fault.Has(temporalfault.FromTemporal(temporalfault.ToTemporal(err)), fault.SecretUnavailable), "%v", err)
}
