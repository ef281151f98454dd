package doctor_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/system"
)

// silent is the address of a server that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// endless is a file that nobody ever reads to its end, whatever the context says.
func endless(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/endless"
	require.NoError(t, unix.Mkfifo(path, 0o600))
	t.Cleanup(func() { // lets go of whoever waits in it
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	})
	return path
}

func TestWithEverythingBrokenAtOnceEveryAreaIsToldInTime(t *testing.T) {
	hung := silent(t)
	t.Setenv("HUNG_DATABASE", "postgres://postgres:swordfish@"+hung+"/postgres?sslmode=disable")
	t.Setenv("HUNG_KEY", "a passphrase that is long enough")
	c := shared.config(t, func(s *system.System) {
		s.Stores[0].Endpoint, s.Stores[1].Endpoint = "http://"+hung, "http://127.0.0.1:"+closedPort(t)
		s.Keys.Encryption = []system.SecretRef{"env:NOT_SET", "env:HUNG_KEY"}
		s.Databases[0].Connection, s.Databases[0].DataDir = "env:HUNG_DATABASE", "/proc/nothing"
		s.Caches[0].Password, s.Caches[0].DataDir = system.SecretRef("file:"+endless(t)), "/nothing"
		s.Files[0].Root = "/nothing/uploads"
		s.Migrations[0].Command = []string{"/nothing/migrate"}
		s.Services[0].Status, s.Services[0].Timeout = []string{"sleep", "300"}, system.Duration(5*time.Minute)
		s.Checks = append(s.Checks, system.Check{Name: "page", Kind: system.CheckHTTP, URL: "http://" + hung})
		s.Contacts = system.Contacts{}
	})
	c.Findings = system.Findings{{File: "lifeboat.yaml", Line: 3, Column: 1, Path: "plan.version", Message: "is required", Hint: "add the key version"}}
	c.Temporal = func(ctx context.Context) (client.Client, error) {
		return client.DialContext(ctx, client.Options{HostPort: hung})
	}
	c.Limit, c.Whole = 300*time.Millisecond, 30*time.Second

	x := doctor.New(c)
	defer x.Close()
	began := time.Now()
	found := examined{x.Run(t.Context())}
	require.Less(t, time.Since(began), 2*c.Whole, "it ends in its time, whatever hangs")
	require.False(t, found.Healthy())

	wrong := map[doctor.Area]bool{}
	for _, f := range found.Findings {
		require.NotEmpty(t, f.What, "%+v", f)
		require.NotContains(t, f.What, "swordfish")
		if f.Status == doctor.Problem || f.Status == doctor.Unknown {
			wrong[f.Area] = true
		}
	}
	for _, area := range doctor.Areas() {
		require.True(t, wrong[area], "%s is broken, too", area)
	}
	for _, id := range []string{
		"configuration/plan.version/valid", "keys/env:NOT_SET/present", "stores/near/reachable", "stores/far/reachable", "postgresql/orders/reachable",
		"files/files/uploads/root", "tools/migration/orders/program", "temporal/server/reachable", "services/postgres/running", "checks/page/http",
	} {
		require.Equal(t, doctor.Problem, found.found(t, id).Status, "%+v", found.found(t, id))
	}
	hangs := "keys/" + string(c.System.Caches[0].Password) + "/present"
	found.is(t, hangs, doctor.Problem, "no answer within 300ms", "find out what it waits for")
	require.Equal(t, hangs, found.found(t, "redis/sessions/reachable").Because)
	require.Equal(t, "keys/env:NOT_SET/present", found.found(t, "backups/files/uploads/newest").Because)
}

func TestTheTimeOfAllChecksIsBoundedToo(t *testing.T) {
	c := shared.config(t, func(s *system.System) { s.Caches[0].Password = system.SecretRef("file:" + endless(t)) })
	c.Limit, c.Whole = time.Minute, 100*time.Millisecond
	x := doctor.New(c)
	defer x.Close()
	began := time.Now()
	found := examined{x.Run(t.Context(), doctor.Redis)}
	require.Less(t, time.Since(began), c.Limit/2)
	require.Contains(t, found.found(t, "redis/sessions/reachable").What, "not examined")
	require.False(t, found.Healthy(), "what was not examined is not called well")
}

func TestOnlyTheAreasAskedForAreReported(t *testing.T) {
	found := shared.examine(t, nil, doctor.Keys)
	for _, f := range found.Findings {
		require.Equal(t, doctor.Keys, f.Area)
	}
	require.Equal(t, doctor.OK, found.found(t, "keys/"+string(shared.ref("key"))+"/opens newest").Status, "what it needs was asked, too")
}
