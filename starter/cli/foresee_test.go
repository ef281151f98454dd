package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
)

func TestADryRunNamesTheBackupsItWouldTake(t *testing.T) {
	s := openShop(t)
	recovery := []string{"recover", "files", "uploads", "--dry-run"}

	code, stdout, stderr := s.run(t, recovery...)
	require.Equal(t, fault.ExitNotFound, code, "the recovery would fail")
	require.Contains(t, stdout, "from its newest backup  (after 1)\n", "the plan is told all the same")
	require.Contains(t, stderr, "lifeboat: find newest backup file-backups/uploads: no such backup: there is no complete one\n")

	older := s.upload(t, noon, true)
	newer := s.upload(t, noon.Add(time.Hour), true)
	code, stdout, stderr = s.run(t, recovery...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "restore files/uploads beside the living data, from its newest backup, now "+newer+"  (after 1)\n")
	require.Empty(t, stderr)
	code, stdout, stderr = s.run(t, append(recovery, "--json", "--from", "primary")...)
	require.Zero(t, code, stderr)
	var planned plan.Plan
	require.NoError(t, json.Unmarshal([]byte(stdout), &planned))
	require.Equal(t, map[string]string{"files/uploads": newer}, planned.Newest)
	require.Equal(t, "primary", planned.From)
	require.Empty(t, planned.Backups)

	code, stdout, stderr = s.run(t, append(recovery, "--to", "backup:"+older)...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "restore files/uploads beside the living data, from "+older+"  (after 1)\n")
	code, stdout, stderr = s.run(t, append(recovery, "--to", "backup:file-backups/2024/01/15/uploads_file_backup_20200101_000000.tree")...)
	require.Equal(t, fault.ExitNotFound, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "no such backup")

	s.env["KEY"] = "another passphrase altogether"
	code, stdout, _ = s.run(t, append(recovery, "--to", "backup:"+older)...)
	require.Equal(t, fault.ExitIntegrity, code)
	require.Empty(t, stdout)
}
