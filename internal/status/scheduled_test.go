package status_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
)

// timetable is a house whose database is proven daily, an older backup of it weekly, and
// dumped daily, each at a time whose run can't be late any more.
func timetable(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.now = time.Date(2024, 1, 17, 12, 0, 0, 0, time.UTC) // a Wednesday
	h.furnish()
	level := func(n int) *int { return &n }
	six := system.Duration(6 * time.Hour)
	h.system.Schedules = []system.Schedule{
		{Name: "proof-daily", Workflow: "VerifyBackup", Of: "frende", Level: level(3), Cron: "30 4 * * *", Catchup: six},
		{Name: "proof-weekly", Workflow: "VerifyBackup", Of: "frende", Level: level(3), Random: true, Cron: "30 4 * * sun", Catchup: six},
		{Name: "listed", Workflow: "VerifyBackup", Level: level(0), Every: system.Duration(time.Hour), Catchup: six},
		{Name: "dump-daily", Workflow: "DumpDatabase", Of: "frende", Cron: "30 2 * * *", Catchup: six},
		{Name: "database-daily", Workflow: "BackupDatabase", Of: "frende", Cron: "0 2 * * *", Catchup: six},
	}
	return h
}

// ran records a run of a schedule.
func (h *house) ran(schedule, kind string, started time.Time, why string) {
	h.t.Helper()
	run := report.Run{System: "frende", ID: "schedule/frende/" + schedule + "-" + started.Format("2006-01-02T15:04:05Z"), Kind: kind, Outcome: report.Succeeded, Started: started, Finished: started.Add(time.Minute)}
	if why != "" {
		run.Outcome, run.Failures = report.Failed, []report.Failure{{Message: why}}
	}
	h.record("run", run.ID, run)
}

const (
	baseOf = "database-backups/2024/01/17/frende_db_backup_20240117_020000.base"
	dumpOf = "database-backups/2024/01/17/frende_db_backup_20240117_023000.sql.gz"
)

func TestProofsAndDumpsThatNeverWereAreLate(t *testing.T) {
	h := timetable(t)
	s := h.look()
	require.Equal(t, []string{
		"database/frende: no proof at L3 since 2024-01-17 04:30 UTC, when schedule proof-daily was due: there is none on record",
		"database/frende: no proof at L3 of an older backup since 2024-01-14 04:30 UTC, when schedule proof-weekly was due: there is none on record",
		"backups: no proof at L0 since 2024-01-17 06:00 UTC, when schedule listed was due: there is none on record",
		"database/frende: no dump since 2024-01-17 02:30 UTC, when schedule dump-daily was due: there is none on record",
	}, texts(s, status.Late))
	mends := map[string]bool{}
	for _, p := range s.Problems {
		mends[p.Mend] = true
	}
	for _, mend := range []string{
		"lifeboat verify latest --of database/frende --level 3", "lifeboat schedule trigger proof-weekly",
		"lifeboat schedule trigger listed", "lifeboat backup database frende --dump",
	} {
		require.True(t, mends[mend], "%v", mends)
	}
}

// onTime records what the schedules want, each at its time.
func onTime(h *house) {
	h.record("proof", baseOf, map[string]any{"level": "L3", "at": time.Date(2024, 1, 17, 4, 40, 0, 0, time.UTC)}) // by hand
	h.ran("proof-weekly", "VerifyBackup", time.Date(2024, 1, 14, 4, 30, 0, 0, time.UTC), "")
	h.ran("listed", "VerifyBackup", time.Date(2024, 1, 17, 11, 0, 0, 0, time.UTC), "")
	h.record("backup", dumpOf, map[string]any{"proof": "L1", "from": time.Date(2024, 1, 17, 2, 30, 0, 0, time.UTC)})
}

func TestProofsAndDumpsOnTimeAreWell(t *testing.T) {
	h := timetable(t)
	onTime(h)
	s := h.look()
	require.Empty(t, s.Problems)
	require.Equal(t, status.Proven{
		L2: time.Date(2024, 1, 17, 4, 40, 0, 0, time.UTC), L3: time.Date(2024, 1, 17, 4, 40, 0, 0, time.UTC),
		Dump: dumpOf, Dumped: time.Date(2024, 1, 17, 2, 30, 0, 0, time.UTC),
	}, s.Components[0].Proven)
	require.Equal(t, "L1", s.Components[0].Proof, "the newest backup is another one")

	t.Run("an earlier status spares the way back to them", func(t *testing.T) {
		h := timetable(t)
		h.record(status.Kind, "frende", s)
		require.Equal(t, s.Scheduled, h.look().Scheduled)
		require.Empty(t, h.look().Problems)
	})
	t.Run("a day later they are late", func(t *testing.T) {
		h.now = h.now.Add(24 * time.Hour)
		require.Subset(t, texts(h.look(), status.Late), []string{
			"database/frende: no proof at L3 since 2024-01-18 04:30 UTC, when schedule proof-daily was due: the last was 31h20m ago",
			"database/frende: no dump since 2024-01-18 02:30 UTC, when schedule dump-daily was due: the last was 33h30m ago",
		})
		h.running = func(context.Context, system.System) ([]status.Run, error) {
			return []status.Run{{ID: "schedule/frende/dump-daily-2024-01-18T02:30:00Z", Kind: "DumpDatabase", Started: h.now.Add(-9 * time.Hour)}}, nil
		}
		for _, text := range texts(h.look(), status.Late) {
			require.NotContains(t, text, "no dump", "it is being taken")
		}
	})
}

func TestAProofByChanceSaysNothingOfTheNewest(t *testing.T) {
	h := timetable(t)
	onTime(h)
	h.now = h.now.Add(24 * time.Hour)
	h.record("proof", baseOf, map[string]any{"level": "L3", "random": true, "at": h.now})
	found := false
	for _, text := range texts(h.look(), status.Late) {
		found = found || text == "database/frende: no proof at L3 since 2024-01-18 04:30 UTC, when schedule proof-daily was due: the last was 31h20m ago"
	}
	require.True(t, found)
}

func TestAScheduledProofOrDumpThatFailedIsWrongUntilOneSucceeds(t *testing.T) {
	h := timetable(t)
	onTime(h)
	h.ran("dump-daily", "DumpDatabase", time.Date(2024, 1, 17, 10, 0, 0, 0, time.UTC), "pg_dump is missing")
	h.ran("listed", "VerifyBackup", time.Date(2024, 1, 17, 11, 30, 0, 0, time.UTC), "two objects are gone")
	s := h.look()
	require.Equal(t, []string{
		"backups: the proof at L0 by schedule listed failed 30m ago: two objects are gone",
		"database/frende: the dump by schedule dump-daily failed 2h ago: pg_dump is missing",
	}, texts(s, status.Wrong))
	require.Equal(t, "lifeboat report schedule/frende/dump-daily-2024-01-17T10:00:00Z", s.Problems[1].Mend)
	h.record("backup", dumpOf, map[string]any{"proof": "L1", "from": time.Date(2024, 1, 17, 10, 5, 0, 0, time.UTC)})
	h.ran("listed", "VerifyBackup", time.Date(2024, 1, 17, 11, 40, 0, 0, time.UTC), "")
	require.Empty(t, h.look().Problems)
}

func TestACopyOfTheLedgerSaysNothingOfWhatIsOverdue(t *testing.T) {
	h := timetable(t)
	h.primary.away = true
	for _, text := range texts(h.look(), status.Late) {
		require.NotContains(t, text, "when schedule", "the copy may lack the newest")
	}
}
