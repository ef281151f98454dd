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
		"unknown component":    {Components: []string{"database/other"}},
		"unknown target":       {Target: "moon"},
		"unknown point":        {To: "yesterday"},
		"empty key":            {To: "backup:"},
		"one key for them all": {To: "backup:file-backups/2024/01/15/uploads"},
	} {
		_, err := plan.Recovery(frende(t), o)
		require.True(t, fault.Has(err, fault.InputInvalid), name)
		require.NotEmpty(t, fault.HintOf(err), name)
	}
	p, err := plan.Recovery(frende(t), plan.Options{Components: []string{"files/uploads"}, To: "backup:file-backups/k/"})
	require.NoError(t, err)
	require.Contains(t, step(t, p, "files/uploads/restore").Title, "from file-backups/k")
}

func TestTextReadsAsAPlan(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{Components: []string{"files/uploads"}})
	require.NoError(t, err)
	text := p.Text()
	require.Contains(t, text, "Recovery of frende to production, to latest: 10 steps, objective 30m.\nThis is a plan: nothing has been changed.\n")
	require.Contains(t, text, "    1  check backup, disk and place of files/uploads\n    2  restore files/uploads beside the living data, from its newest backup  (after 1)\n")
	require.Contains(t, text, "!   6  stop frende-frontend, frende-backend  (after 5)\n")
}
