package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

// scratched says whether something of a run that restores to look lies beside the data directory.
func (h *house) scratched(object string) bool {
	return matches(filepath.Join(h.postgres.DataDir+".lifeboat-look-*", object))
}

// key gives the newest backup of the database.
func (h *house) key(t *testing.T) string {
	t.Helper()
	table := h.lifeboat(t, "backups", "list", "--of", "database/frende").done(t).stdout
	for line := range strings.Lines(table) {
		if at := strings.Index(line, "database-backups/"); at >= 0 {
			return strings.Fields(line[at:])[0]
		}
	}
	require.FailNow(t, "there is no backup", table)
	return ""
}

func TestABackupIsProvenByRestoringItAndOneThatIsDamagedIsPassedOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	t.Cleanup(func() {
		logs, _ := filepath.Glob(h.postgres.DataDir + ".lifeboat-look-*/run/postgresql.log")
		for _, path := range logs {
			if log, err := os.ReadFile(path); t.Failed() && err == nil {
				t.Logf("log of the hidden server:\n%s", log)
			}
		}
	})
	h.lifeboat(t, "backup", "system").done(t)
	older := h.key(t)
	h.sql(t, "insert into users values (400001, 'in the newer one')")
	h.lifeboat(t, "backup", "database").done(t)
	newer := h.key(t)
	h.sql(t, "delete from users where id = 400001")
	before := h.look(t)

	proven := h.lifeboat(t, "verify", "latest", "--of", "database/frende", "--level", "3").done(t).stdout
	require.Regexp(t, `PROVEN L3\s+`+newer+`\s.*1 tables and sequences equal their source, 3 databases looked into`, proven)
	require.Regexp(t, `L3\s+`+newer, h.lifeboat(t, "backups", "list").done(t).stdout)
	require.Regexp(t, `database/frende\s.*L3`, h.lifeboat(t, "status").stdout)
	all := h.lifeboat(t, "verify", "--level", "2").done(t).stdout
	require.Contains(t, all, "cache/sessions was verified at L1: there is no L2 of cache yet")
	require.Contains(t, all, "PROVEN L1")
	listed := h.lifeboat(t, "verify", "--level", "0").done(t).stdout
	require.Regexp(t, `LISTED L0\s+database/frende\s+in primary\s+2 backups, \d+ objects`, listed)
	h.lifeboat(t, "verify", "--level", "0", "--random").ended(t, fault.InputInvalid, "level 0 looks at every backup")
	h.lifeboat(t, "verify", "--of", "cache/sessions", "--level", "2").ended(t, fault.Unsupported, "cache/sessions", "L1 only")
	h.lifeboat(t, "verify", "--of", "database/frand").ended(t, fault.NameUnknown, "frand", "configured are: frende")

	// Whatever becomes of the worker or of the run, nothing stays behind.
	id := strings.TrimSpace(h.lifeboat(t, "verify", older, "--level", "3", "--detach").done(t).stdout)
	await(t, "the hidden server", func() bool { return h.scratched("data/postmaster.pid") })
	_, err := h.worker.Kill(t.Context())
	require.NoError(t, err)
	require.NoError(t, h.worker.Start(t.Context()))
	h.lifeboat(t, "watch", id).done(t)
	require.False(t, h.scratched(""), "nothing is left behind")
	id = strings.TrimSpace(h.lifeboat(t, "verify", older, "--level", "2", "--detach").done(t).stdout)
	await(t, "the restore to have begun", func() bool { return h.scratched("data") })
	require.NoError(t, h.client.CancelWorkflow(t.Context(), id, ""))
	require.Error(t, h.client.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil))
	require.False(t, h.scratched(""), "nothing is left behind")

	// One that was terminated can't clear up after itself: a clean-up does.
	level := 2
	run := h.start(t, "verify/terminated", api.VerifyBackup, api.Queue, api.VerifyInput{Component: "database/frende", Level: &level})
	await(t, "the hidden server", func() bool { return h.scratched("data/postmaster.pid") })
	require.NoError(t, h.client.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "on purpose"))
	await(t, "the clean-up to find it", func() bool {
		return strings.Contains(h.lifeboat(t, "cleanup").done(t).stdout, "removed   scratch directory "+h.postgres.DataDir+".lifeboat-look-")
	})
	require.False(t, h.scratched(""), "nothing is left behind")
	require.Equal(t, before, h.look(t), "production is as it was")
	require.Empty(t, h.strays(t))

	// Damage in the store is named, marked, and passed over.
	chunks, err := filepath.Glob(filepath.Join(h.s3.Dir, bucket, newer, "chunk", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, chunks)
	body, err := os.ReadFile(chunks[0])
	require.NoError(t, err)
	body[len(body)/2] ^= 1
	require.NoError(t, os.WriteFile(chunks[0], body, 0o600))
	h.lifeboat(t, "verify", "--of", "database").ended(t, fault.IntegrityError, newer+"/chunk/")
	require.Regexp(t, newer+`\s+DAMAGED: IntegrityError`, h.lifeboat(t, "backups", "list").done(t).stdout)
	require.Contains(t, h.lifeboat(t, "status").stdout, "is not sound: a verification at")
	require.Contains(t, h.lifeboat(t, "recover", "database", "frende", "--dry-run").done(t).stdout, "from its newest backup, now "+older)
	require.Regexp(t, `NOT USABLE.*found it damaged.*`+newer, h.lifeboat(t, "window", "database", "frende").done(t).stdout)
	h.keepsSecrets(t)
}
