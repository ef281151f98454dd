package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/retention"
)

func TestABackupIsHeldListedAndReleased(t *testing.T) {
	s := openShop(t)
	key := s.upload(t, noon, true)
	code, _, stderr := s.run(t, "hold", key)
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "a hold needs a reason\nHINT: as in: lifeboat hold "+key+" --reason \"audit 2024\"\n")
	code, _, stderr = s.run(t, "hold")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "lifeboat hold needs KEY")
	code, _, stderr = s.run(t, "hold", "file-backups/2024/01/15/uploads_file_backup_20240115_030000.tree", "--reason", "audit")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "no such backup")
	code, stdout, stderr := s.run(t, "hold", "list")
	require.Zero(t, code, stderr)
	require.Equal(t, "no holds\n", stdout)

	code, stdout, stderr = s.run(t, "hold", key+"/", "--reason", "audit 2024")
	require.Zero(t, code, stderr)
	require.Equal(t, "HELD "+key+": audit 2024\n", stdout)
	code, stdout, stderr = s.run(t, "hold", key, "--reason", "a lawsuit", "--json")
	require.Zero(t, code, stderr)
	var held retention.Hold
	require.NoError(t, json.Unmarshal([]byte(stdout), &held))
	require.Equal(t, "operators/2", held.ID)
	code, stdout, stderr = s.run(t, "hold", "list")
	require.Zero(t, code, stderr)
	require.Regexp(t, `since \(UTC\) +by +backup +reason\n.+ `+key+`  audit 2024\n.+ `+key+`  a lawsuit\n$`, stdout)
	code, stdout, stderr = s.run(t, "backups", "list")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, key+"  HELD\n")

	code, _, stderr = s.run(t, "hold", "release", "file-backups/2024/01/15/uploads_file_backup_20240115_030000.tree")
	require.Equal(t, fault.ExitNotFound, code)
	require.Contains(t, stderr, "nobody holds it\nHINT: see the holds with: lifeboat hold list\n")
	code, stdout, stderr = s.run(t, "hold", "release", key, "--reason", "the audit is over")
	require.Zero(t, code, stderr)
	require.Equal(t, "RELEASED "+key+": 2 holds ended\n", stdout)
	code, stdout, stderr = s.run(t, "hold", "list", "--json")
	require.Zero(t, code, stderr)
	require.Equal(t, "[]\n", stdout)
	code, stdout, stderr = s.run(t, "backups", "list")
	require.Zero(t, code, stderr)
	require.NotContains(t, stdout, "HELD")

	require.NoError(t, s.vault.MarkExpired(t.Context(), key, "retention"))
	code, _, stderr = s.run(t, "hold", key, "--reason", "too late")
	require.Equal(t, fault.ExitRefused, code)
	require.Contains(t, stderr, "its removal has begun, and may go on; the hold operators/4 is on record")
}

func TestAListingSaysWhyEachBackupIsKept(t *testing.T) {
	s := openShop(t)
	old, proven, young := s.upload(t, noon.Add(-48*time.Hour), true), s.upload(t, noon.Add(-24*time.Hour), true), s.upload(t, noon, true)
	code, stdout, stderr := s.run(t, "backups", "list", "--why")
	require.Zero(t, code, stderr)
	require.Regexp(t, young+`\n    kept in primary: it ended less than 30d ago; until 20\d\d-\d\d-\d\d at least\n`, stdout, "as the store's clock says, whatever the name")

	records := s.records(t, time.Now)
	_, err := records.Append(t.Context(), ledger.Record{Kind: kindProof, Subject: proven, Body: map[string]string{"level": "L2"}})
	require.NoError(t, err)
	_, err = records.Append(t.Context(), ledger.Record{Kind: retention.KindHold, Subject: old, Body: retention.HoldBody{Reason: "audit", By: "ada"}})
	require.NoError(t, err)
	code, stdout, stderr = s.run(t, "backups", "list", "--why", "--json")
	require.Zero(t, code, stderr)
	var backups []listed
	require.NoError(t, json.Unmarshal([]byte(stdout), &backups))
	require.Equal(t, "audit", backups[2].Holds[0].Reason)
	require.Equal(t, "L2", backups[1].Proof)
	require.Contains(t, backups[2].Fates[0].Why, "held by ada since ")
	require.False(t, backups[0].Fates[0].Goes)
	require.False(t, backups[0].Fates[0].Until.IsZero())

	code, _, stderr = s.run(t, "--from", "primary", "backups", "list", "--why")
	require.Equal(t, fault.ExitRefused, code)
	require.Contains(t, stderr, "one of its stores is left out\nHINT: what goes from one store depends on what the other holds: leave out --from\n")
}
