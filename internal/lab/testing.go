package lab

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// New makes an empty lab for a test. Its servers end with the test and with
// the test process.
func New(t testing.TB) *Lab {
	t.Helper()
	account, err := Ordinary()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: only this user could enter that.
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := furnish(dir, account, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context has ended
		defer cancel()
		if t.Failed() {
			l.logTails(t)
		}
		if err := Remove(ctx, dir); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Dir makes an empty directory for a test that the servers' account owns and
// can reach. It is removed with the test.
func Dir(t testing.TB) string {
	t.Helper()
	path, err := New(t).Folder("data")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Self puts this test program into the lab and gives the beginning of a shell command
// that runs it as the account, as an archive_command for one.
func (l *Lab) Self(name string) (string, error) {
	original, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.PathFailed, "find", "this program", err)
	}
	return l.Bring(original, name)
}

// Bring is Self for another program. Under the race detector it ends at once, not a
// second later: nothing else runs in it then.
func (l *Lab) Bring(original, name string) (string, error) {
	program := l.Path("programs", name)
	info, err := os.Stat(original)
	if err != nil || info.Mode().Perm()&0o005 != 0o005 || os.Link(original, program) != nil { // on another file system
		if err := writeProgram(original, filepath.Dir(program), program); err != nil {
			return "", fault.New(fault.PathFailed, "copy program", original, err)
		}
	}
	return "GORACE=atexit_sleep_ms=0 " + program, nil
}

// logTails shows the end of each server's log of a failed test.
func (l *Lab) logTails(t testing.TB) {
	services, err := l.Services()
	if err != nil {
		t.Log(err)
	}
	for _, service := range services {
		t.Logf("log of %s: …\n%s", service.Name(), service.tail())
	}
}

// StartPostgres starts a new PostgreSQL cluster for a test.
func StartPostgres(t testing.TB, o PostgresOptions) *Postgres {
	t.Helper()
	server, err := New(t).Postgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// StartRedis starts a new Redis server for a test.
func StartRedis(t testing.TB, o RedisOptions) *Redis {
	t.Helper()
	server, err := New(t).Redis(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// StartS3 starts a new S3 server for a test.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	server, err := New(t).S3(t.Context(), S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// NewBucket makes a bucket with versioning on for a test.
func (s *S3) NewBucket(t testing.TB, name string) {
	t.Helper()
	if err := s.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// StartTemporal starts a new Temporal server for a test.
func StartTemporal(t testing.TB) *Temporal {
	t.Helper()
	server, err := New(t).Temporal(t.Context(), TemporalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return server
}
