package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/workflows/api"
)

const shop = `system: shop
stores:
  - name: primary
    bucket: shop-backups
    region: us-east-1
    endpoint: %s
    path_style: true
    access_key: env:ACCESS
    secret_key: env:SECRET
keys:
  encryption: [env:KEY]
files:
  - name: uploads
    root: /srv/shop/uploads
schedules:
  - {name: weekly-clean, workflow: CleanUp, cron: 0 2 * * 0}
  - {name: weekly, workflow: BackupFiles, of: uploads, cron: 0 3 * * 0}
`

// shopStore is a configured system with a real store, and its environment.
type shopStore struct {
	config string
	env    map[string]string
	vault  *vault.Vault
}

func openShop(t *testing.T) shopStore {
	t.Helper()
	server := lab.StartS3(t)
	server.NewBucket(t, "shop-backups")
	s := shopStore{
		config: filepath.Join(t.TempDir(), "lifeboat.yaml"),
		env:    map[string]string{"ACCESS": server.AccessKey, "SECRET": server.SecretKey, "KEY": "correct horse battery staple"},
	}
	require.NoError(t, os.WriteFile(s.config, fmt.Appendf(nil, shop, server.Endpoint), 0o600))
	configured, err := system.Load(s.config, s.lookup)
	require.NoError(t, err)
	s.vault, err = assembly.New(assembly.Config{Env: s.lookup}).Vault(t.Context(), *configured, nil)
	require.NoError(t, err)
	return s
}

func (s shopStore) lookup(name string) (string, bool) {
	value, ok := s.env[name]
	return value, ok
}

// run runs a command line to its end.
func (s shopStore) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = Run(t.Context(), Process{
		Args: append(args, "--config", s.config), Stdout: &out, Stderr: &problems, Env: s.lookup, Now: time.Now, Screen: func() (width, height int) { return 0, 0 },
	})
	return code, out.String(), problems.String()
}

// upload makes a backup of the uploads; without a commit it stays incomplete.
func (s shopStore) upload(t *testing.T, at time.Time, commit bool) string {
	t.Helper()
	w, err := s.vault.Begin(t.Context(), vault.Intent{
		Folder: "file-backups", Kind: "tree", System: "shop", Component: "uploads", RunID: "backup/shop/" + at.Format(time.TimeOnly), Attempt: 1, At: at,
	})
	require.NoError(t, err)
	stream, err := w.Create(t.Context(), "content")
	require.NoError(t, err)
	_, err = stream.Write(bytes.Repeat([]byte("photo "), 1000))
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	if commit {
		_, err = w.Commit(t.Context(), vault.Facts{"tree": json.RawMessage(`{"files":1}`)})
		require.NoError(t, err)
	}
	return w.Key()
}

func TestBackupsAreListedAndShown(t *testing.T) {
	s := openShop(t)
	code, stdout, stderr := s.run(t, "backups", "list")
	require.Zero(t, code, stderr)
	require.Equal(t, "no backups\n", stdout)

	older := s.upload(t, noon, true)
	newer := s.upload(t, noon.Add(time.Hour), true)
	unfinished := s.upload(t, noon.Add(2*time.Hour), false)
	records := s.records(t, func() time.Time { return noon.Add(2 * time.Hour) })
	for _, known := range []ledger.Record{
		{Kind: kindBackup, Subject: newer, Body: api.BackupMade{Key: newer, Bytes: 6000, Stored: 1536, Proof: "L1"}},
		{Kind: kindProof, Subject: newer, Body: map[string]string{"level": "L4"}},
	} {
		_, err := records.Append(t.Context(), known)
		require.NoError(t, err)
	}

	code, stdout, stderr = s.run(t, "backups", "list")
	require.Zero(t, code, stderr)
	require.Equal(t, fmt.Sprintf(`taken (UTC)          component      kind  size     stored   proof  key
2024-01-15 14:00:00  files/uploads  tree  -        -        -      %s  INCOMPLETE
2024-01-15 13:00:00  files/uploads  tree  5.9 KiB  1.5 KiB  L4     %s
2024-01-15 12:00:00  files/uploads  tree  ?        ?        ?      %s
`, unfinished, newer, older), stdout)

	code, stdout, stderr = s.run(t, "backups", "list", "--of", "files/uploads", "--json")
	require.Zero(t, code, stderr)
	var backups []listed
	require.NoError(t, json.Unmarshal([]byte(stdout), &backups))
	require.Len(t, backups, 3)
	require.Equal(t, "files/uploads", backups[1].Component)
	require.True(t, backups[1].Complete)
	require.EqualValues(t, 6000, backups[1].Bytes)
	require.Equal(t, "L4", backups[1].Proof)

	code, stdout, stderr = s.run(t, "backups", "list", "--of", "database")
	require.Zero(t, code, stderr)
	require.Equal(t, "no backups of database\n", stdout)
	code, _, stderr = s.run(t, "backups", "list", "--of", "tapes")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "there is no such kind of component")

	code, stdout, stderr = s.run(t, "backups", "show", newer+"/")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "component  files/uploads\n")
	require.Contains(t, stdout, "stream     content, 5.9 KiB\n")
	require.Contains(t, stdout, "facts      tree (see --json)\n")

	code, _, stderr = s.run(t, "backups", "show", unfinished)
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "backup is not complete")
	code, _, stderr = s.run(t, "backups", "show", "file-backups/2024/01/15/uploads_file_backup_20240115_030000.tree")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "no such backup")

	s.env["KEY"] = "another passphrase altogether"
	code, stdout, stderr = s.run(t, "backups", "show", newer)
	require.Equal(t, fault.ExitIntegrity, code)
	require.Empty(t, stdout)
	require.NotContains(t, stderr, "passphrase altogether")
	code, stdout, stderr = s.run(t, "backups", "list")
	require.Zero(t, code, stderr)
	require.Regexp(t, `13:00:00  files/uploads  tree  \? +\? +\? +`+newer, stdout, "the ledger can't be opened either")
}
