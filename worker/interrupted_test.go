package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

// listed is a line of `lifeboat backups list --json`.
type listed struct {
	Key      string
	Complete bool
}

// backupIsInterrupted kills the worker in the middle of the first backup.
func (h *house) backupIsInterrupted(t *testing.T) {
	var first string
	t.Run("an interrupted backup is none", func(t *testing.T) {
		require.NoError(t, h.lab.Write(h.hold(), nil, 0o644)) // no WAL comes: the backup can't end
		h.lifeboat(t, "backup", "database", "--detach").done(t)
		await(t, "the first chunk of the backup", func() bool {
			chunks, err := filepath.Glob(filepath.Join(h.s3.Dir, bucket, "database-backups", "*", "*", "*", "*.base", "chunk", "*", "*"))
			require.NoError(t, err)
			return len(chunks) > 0
		})
		_, err := h.worker.Kill(t.Context())
		require.NoError(t, err)
		found := h.backups(t)
		require.Len(t, found, 1)
		require.False(t, found[0].Complete)
		first = found[0].Key
		require.Empty(t, h.manifests(t, first))
		h.lifeboat(t, "backups", "show", first).ended(t, fault.BackupIncomplete, first)

		require.NoError(t, h.worker.Start(t.Context()))
		before := h.look(t)
		h.lifeboat(t, "recover", "database", "--to", "backup:"+first, "--yes-destroy", "frende").ended(t, fault.BackupIncomplete, first)
		h.lifeboat(t, "recover", "database", "--yes-destroy", "frende").ended(t, fault.BackupUnknown, "frende")
		require.Equal(t, before, h.look(t))
	})
	t.Run("a later backup is whole and the interrupted one comes to its end once", func(t *testing.T) {
		require.NoError(t, os.Remove(h.hold()))
		h.lifeboat(t, "backup", "system").done(t)
		await(t, "the interrupted backup", func() bool {
			for _, one := range h.backups(t) {
				if !one.Complete {
					return false
				}
			}
			return true
		})
		require.Len(t, h.manifests(t, first), 1)
		h.lifeboat(t, "backups", "show", first).done(t)
	})
}

func (h *house) backups(t *testing.T) (found []listed) {
	t.Helper()
	said := h.lifeboat(t, "backups", "list", "--of", "database/frende", "--json").done(t)
	require.NoError(t, json.Unmarshal([]byte(said.stdout), &found))
	return found
}

// manifests are all that were ever written of a backup, every version counted.
func (h *house) manifests(t *testing.T, key string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.s3.Dir, bucket, filepath.FromSlash(key)))
	require.NoError(t, err)
	var found []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "manifest") {
			found = append(found, entry.Name())
		}
	}
	return found
}
