package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

func frende(t *testing.T) system.System {
	t.Helper()
	s, err := system.Load("../../examples/frende/lifeboat.yaml", func(name string) (string, bool) {
		return "value", name == "BACKUP_ENCRYPTION_KEY" || name == "FRENDE_DATABASE_URL"
	})
	require.NoError(t, err)
	return *s
}

// ancestors gives every step that must be done before the one of this ID.
func ancestors(p plan.Plan, id string) []string {
	var all []string
	for _, step := range p.Steps {
		if step.ID == id {
			for _, before := range step.After {
				all = append(append(all, before), ancestors(p, before)...)
			}
		}
	}
	return all
}

func step(t *testing.T, p plan.Plan, id string) plan.Step {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.ID == id })
	require.GreaterOrEqual(t, i, 0, "no step "+id)
	return p.Steps[i]
}

func TestStepsStandAfterWhatTheyNeed(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{})
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, s := range p.Steps {
		for _, before := range s.After {
			require.True(t, seen[before], "%s stands before %s", s.ID, before)
		}
		require.Positive(t, s.Objective, s.ID)
		require.NotEmpty(t, s.Title)
		seen[s.ID] = true
	}
}

func TestDatabaseIsRecoveredInTheProvenOrder(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{Components: []string{"database/frende"}})
	require.NoError(t, err)
	var ids []string
	for _, s := range p.Steps {
		ids = append(ids, strings.TrimPrefix(s.ID, "database/frende/"))
	}
	require.Equal(t, []string{
		"preflight", "restore", "verify-files", "replay", "approve", "services-status", "stop-services",
		"fence", "terminate-connections", "salvage-wal", "replay-final", "verify", "record-recovery-point", "cut-over", "promote",
		"migrate/frende", "start-services", "health-checks", "base-backup",
	}, ids)
	require.Equal(t, 15*time.Minute, p.Objective.Std())
	require.Equal(t, "stop frende-frontend, frende-backend", step(t, p, "stop-services").Title)
	require.Equal(t, "start frende-backend, frende-frontend", step(t, p, "start-services").Title)
}

func TestNothingIsTouchedBeforeTheApproval(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{})
	require.NoError(t, err)
	touched := 0
	for _, s := range p.Steps {
		if s.Destructive {
			touched++
			require.Contains(t, ancestors(p, s.ID), plan.Approve, s.ID)
		}
	}
	require.GreaterOrEqual(t, touched, 10)
}

func TestNoComponentIsCutOverBeforeAllAreReady(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{})
	require.NoError(t, err)
	for _, c := range p.Components {
		before := ancestors(p, c.ID+"/cut-over")
		require.Contains(t, before, "stop-services")
		for _, other := range p.Components {
			require.Contains(t, before, other.ID+"/restore", c.ID)
			require.Contains(t, before, other.ID+"/verify", c.ID)
		}
	}
}

func TestServersStartWithTheRecoveredConfiguration(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{})
	require.NoError(t, err)
	for _, server := range []string{"database/frende", "cache/sessions"} {
		require.Contains(t, ancestors(p, server+"/cut-over"), "configuration/postgresql/cut-over")
		require.Contains(t, ancestors(p, server+"/cut-over"), "configuration/redis/cut-over")
	}
	require.NotContains(t, ancestors(p, "files/uploads/cut-over"), "configuration/redis/cut-over")
}

func TestComponentsArePreparedInParallel(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{})
	require.NoError(t, err)
	for _, c := range p.Components {
		require.Empty(t, step(t, p, c.ID+"/preflight").After)
	}
	durations := map[string]time.Duration{}
	for _, s := range p.Steps {
		durations[s.ID] = time.Second
	}
	durations["database/frende/restore"] = 40 * time.Second
	durations["files/uploads/restore"] = 30 * time.Second
	path, length := p.CriticalPath(durations)
	require.Contains(t, path, "database/frende/restore")
	require.NotContains(t, path, "files/uploads/restore")
	require.Equal(t, "database/frende/preflight", path[0])
	require.Equal(t, "database/frende/base-backup", path[len(path)-1])
	require.Equal(t, time.Duration(len(path)-1)*time.Second+40*time.Second, length)
}

func TestSandboxNeedsNoApprovalAndTouchesNothing(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{Target: "sandbox"})
	require.NoError(t, err)
	for _, s := range p.Steps {
		require.False(t, s.Destructive, s.ID)
		require.NotContains(t, []string{plan.Approve, "stop-services", "start-services", "database/frende/fence", "database/frende/base-backup"}, s.ID)
	}
	require.Equal(t, "check the health of database, cache", step(t, p, "health-checks").Title)
}

func TestRefusals(t *testing.T) {
	for name, o := range map[string]plan.Options{
		"unknown point":      {To: "yesterday"},
		"empty key":          {To: "backup:"},
		"no backup's key":    {To: "backup:file-backups/2024/01/15/uploads"},
		"another folder's":   {To: "backup:redis-backups/2024/01/15/uploads_file_backup_20240115_020000.tree"},
		"not recovered here": {Components: []string{"database/frende"}, To: "backup:" + uploads},
		"two for one":        {To: "backup:" + uploads, Backups: []string{strings.Replace(uploads, "15", "16", 2)}},
	} {
		_, err := plan.Recovery(frende(t), o)
		require.True(t, fault.Has(err, fault.InputInvalid), name)
		require.NotEmpty(t, fault.HintOf(err), name)
	}
	for name, o := range map[string]plan.Options{
		"unknown component": {Components: []string{"database/other"}},
		"unknown target":    {Target: "moon"},
	} {
		_, err := plan.Recovery(frende(t), o)
		require.True(t, fault.Has(err, fault.NameUnknown), name)
		require.NotEmpty(t, fault.HintOf(err), name)
	}
}

const uploads = "file-backups/2024/01/15/uploads_file_backup_20240115_020000.tree"

func TestABackupNamesItsComponentAndTheOthersStayLatest(t *testing.T) {
	const sessions = "redis-backups/2024/01/14/sessions_redis_backup_20240114_020000.rdb"
	p, err := plan.Recovery(frende(t), plan.Options{To: "backup:" + uploads + "/", Backups: []string{sessions}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"files/uploads": uploads, "cache/sessions": sessions}, p.Backups)
	require.Equal(t, "backup:"+sessions+", backup:"+uploads+", latest for the others", p.To)
	require.Contains(t, step(t, p, "files/uploads/restore").Title, "from "+uploads)
	require.Contains(t, step(t, p, "cache/sessions/restore").Title, "from "+sessions)
	require.Contains(t, step(t, p, "database/frende/restore").Title, "from its newest backup")

	p, err = plan.Recovery(frende(t), plan.Options{Components: []string{"files/uploads"}, To: "backup:" + uploads})
	require.NoError(t, err)
	require.Equal(t, "backup:"+uploads, p.To)
}

// The vault makes the keys; the plan, which knows no vault, reads them.
func TestEveryKeyOfTheVaultNamesItsComponent(t *testing.T) {
	at := time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)
	for id, in := range map[string]vault.Intent{
		"database/frende":         {Folder: "database-backups", Component: "frende", Kind: "base"},
		"cache/my_redis_backup":   {Folder: "redis-backups", Component: "my_redis_backup", Kind: "rdb"},
		"files/user-uploads":      {Folder: "file-backups", Component: "user-uploads", Kind: "tree"},
		"configuration/nginx_all": {Folder: "config-backups", Component: "nginx_all", Kind: "tree"},
	} {
		in.At = at
		found, err := plan.ComponentOf(in.Key())
		require.NoError(t, err)
		require.Equal(t, id, found)
	}
}

func TestTextReadsAsAPlan(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{Components: []string{"files/uploads"}})
	require.NoError(t, err)
	text := p.Text()
	require.NotRegexp(t, `(?m) $`, text)
	require.Contains(t, text, "Recovery of frende to production, to latest: 10 steps, objective 30m.\nThis is a plan: nothing has been changed.\n")
	require.Contains(t, text, "    1  check backup, disk and place of files/uploads\n    2  restore files/uploads beside the living data, from its newest backup  (after 1)\n")
	require.Contains(t, text, "!   6  stop frende-frontend, frende-backend  (after 5)\n")
}
