package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/vault"
)

const dump = "database-backups/2024/01/15/frende_db_backup_20240115_020000.sql.gz"

func TestADumpIsRestoredBesideAndSwappedByName(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{Components: []string{"database/frende"}, To: "backup:" + dump})
	require.NoError(t, err)
	var ids []string
	for _, s := range p.Steps {
		if s.Component == "database/frende" {
			ids = append(ids, s.ID[len("database/frende/"):])
		}
	}
	require.Equal(t, []string{"preflight", "restore", "verify", "fence", "cut-over", "base-backup"}, ids)
	require.Contains(t, ancestors(p, "database/frende/fence"), plan.Approve)
	require.Contains(t, ancestors(p, "database/frende/fence"), "stop-services")
	require.NotContains(t, ancestors(p, "database/frende/verify"), plan.Approve)
	require.Contains(t, p.Text(), "restore database/frende into a database beside the living one, from "+dump)
}

func TestADumpGoesToNoPointAndIntoNoSandbox(t *testing.T) {
	for says, o := range map[string]plan.Options{
		"a dump is one moment, and can't be taken to 2024-01-15T09:42:00Z": {To: "2024-01-15T09:42:00Z", Backups: []string{dump}},
		"a dump is one moment, and can't be taken to lsn:0/3000148":        {To: "lsn:0/3000148", Backups: []string{dump}},
		"a sandbox has no server to restore a dump into":                   {To: "backup:" + dump, Target: "sandbox"},
	} {
		o.Components = []string{"database/frende"}
		_, err := plan.Recovery(frende(t), o)
		require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
		require.ErrorContains(t, err, says)
		require.NotEmpty(t, fault.HintOf(err))
	}
}

func TestTheKeyOfADumpIsKnownAsTheVaultWritesIt(t *testing.T) {
	for _, kind := range []string{vault.KindSQL, vault.KindCustom, "base", "tree"} {
		key := vault.Intent{Folder: "database-backups", Kind: kind, Component: "frende"}.Key()
		require.Equal(t, vault.IsDump(kind), plan.IsDump(key), key)
	}
	require.False(t, plan.IsDump("file-backups/2024/01/15/x_file_backup_20240115_020000.dump"))
}
