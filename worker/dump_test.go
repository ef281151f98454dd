package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

// dumped takes a dump, loses a table, and recovers the database from it while the
// server goes on.
func (h *house) dumped(t *testing.T) {
	rows := h.rows(t)
	h.lifeboat(t, "backup", "database", "frende", "--dump=tar").ended(t, fault.InputInvalid, "tar")
	var made api.BackupResult
	require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "backup", "database", "frende", "--dump", "--json").done(t).stdout), &made))
	key := made.Backups[0].Key
	require.Regexp(t, `^database-backups/\d{4}/\d\d/\d\d/frende_db_backup_\d{8}_\d{6}\.sql\.gz$`, key, "as the plan names it")
	require.Equal(t, "L1", made.Backups[0].Proof)

	packed, err := gzip.NewReader(bytes.NewReader([]byte(h.lifeboat(t, "backups", "export", key, "-").done(t).stdout)))
	require.NoError(t, err)
	text, err := io.ReadAll(packed)
	require.NoError(t, err)
	require.Contains(t, string(text), "COPY public.users")

	require.NotContains(t, h.lifeboat(t, "recover", "database", "frende", "--dry-run").done(t).stdout, key, "a dump is recovered from only when it is named")
	h.sql(t, "drop table users cascade")
	require.Contains(t, h.lifeboat(t, "recover", "database", "frende", "--to", "backup:"+key, "--dry-run").done(t).stdout, "restore database/frende into a database beside the living one")
	var result api.RecoverResult
	require.NoError(t, json.Unmarshal([]byte(h.lifeboat(t, "recover", "database", "frende", "--to", "backup:"+key, "--yes-destroy", "frende", "--json").done(t).stdout), &result))
	require.Equal(t, rows, h.rows(t))
	require.Equal(t, key, result.Components[0].Backup)
	require.Positive(t, result.Components[0].Compared)
	require.Len(t, result.Components[0].Undo, 1)
	require.Contains(t, result.Components[0].Undo[0], "database frende_before_")
	require.Equal(t, "1", h.text(t, "select count(*)::text from pg_database where datname like 'frende\\_before\\_%' and not datallowconn"))
}
