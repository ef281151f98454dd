package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/vault"
)

// dump stores streams as a dump of this kind has them.
func (s shopStore) dump(t *testing.T, kind, codec string, at time.Time, streams map[string]string) string {
	t.Helper()
	w, err := s.vault.Begin(t.Context(), vault.Intent{
		Folder: "database-backups", Kind: kind, System: "shop", Component: "orders", RunID: "dump/" + kind, Attempt: 1, At: at, Codec: codec,
	})
	require.NoError(t, err)
	for name, body := range streams {
		stream, err := w.Create(t.Context(), name)
		require.NoError(t, err)
		_, err = io.WriteString(stream, body)
		require.NoError(t, err)
		require.NoError(t, stream.Close())
	}
	_, err = w.Commit(t.Context(), vault.Facts{"dump": json.RawMessage(`{"database":"orders"}`)})
	require.NoError(t, err)
	return w.Key()
}

func TestADumpIsExportedForWhoeverRestoresByHand(t *testing.T) {
	s := openShop(t)
	sql := strings.Repeat("INSERT INTO orders VALUES (1);\n", 50_000) // of several frames
	text := s.dump(t, "sql.gz", "gzip", noon, map[string]string{"dump.sql": sql, "globals.sql": "CREATE ROLE app;\n", "contents": "{}"})
	custom := s.dump(t, "dump", "zstd", noon, map[string]string{"dump.custom": "PGDMP…", "globals.sql": "", "contents": "{}"})
	dir := t.TempDir()
	file, globals := filepath.Join(dir, "orders.sql.gz"), filepath.Join(dir, "globals.sql")

	code, stdout, stderr := s.run(t, "backups", "export", text, file, "--globals", globals)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "gunzip --stdout "+file+" | psql -v ON_ERROR_STOP=1 --single-transaction --dbname=DATABASE\n")
	packed, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, sql, unzip(t, packed))
	roles, err := os.ReadFile(globals)
	require.NoError(t, err)
	require.Equal(t, "CREATE ROLE app;\n", string(roles))
	for _, path := range []string{file, globals} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), "it is not encrypted any more")
	}

	code, stdout, stderr = s.run(t, "backups", "export", text, "-")
	require.Zero(t, code, stderr)
	require.Equal(t, sql, unzip(t, []byte(stdout)))
	plain := filepath.Join(dir, "orders.dump")
	code, stdout, stderr = s.run(t, "backups", "export", custom+"/", plain, "--json")
	require.Zero(t, code, stderr)
	var told exported
	require.NoError(t, json.Unmarshal([]byte(stdout), &told))
	require.EqualValues(t, len("PGDMP…"), told.Bytes)
	require.Equal(t, "pg_restore --exit-on-error --jobs=4 --dbname=DATABASE "+plain, told.Restore)

	code, _, stderr = s.run(t, "backups", "export", text, file)
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "HINT: name a file that does not exist")
	code, _, stderr = s.run(t, "backups", "export", s.upload(t, noon, true), filepath.Join(dir, "tree"))
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "it is no dump")
	code, _, stderr = s.run(t, "backups", "export", text, "-", "--json")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "stdout takes either")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3, "what was refused left nothing")

	code, stdout, stderr = s.run(t, "backups", "list", "--of", "database")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "database/orders  sql.gz")
}

func unzip(t *testing.T, packed []byte) string {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	body, err := io.ReadAll(reader)
	require.NoError(t, err)
	return string(body)
}
