package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

func TestAStatusIsOneScreen(t *testing.T) {
	now := time.Date(2024, 4, 2, 7, 0, 0, 0, time.UTC)
	minute, hour := system.Duration(time.Minute), system.Duration(time.Hour)
	known := func(age system.Duration) status.Point { return status.Point{State: status.Known, RPO: age} }
	replica := known(2 * minute)
	replica.Least = true
	s := status.Status{
		System: "frende", At: now, Answer: "WRONG frende: 1 wrong, 1 overdue", Late: 1, Wrong: 1, Store: "primary", Replica: "dr",
		Components: []status.Component{
			{
				ID: "database/frende", Objective: hour, Backup: &status.Backup{Age: 5 * hour}, Proof: "L4", Asked: true, Bucket: known(40 * system.Duration(time.Second)), Replica: &replica,
				Proven: status.Proven{L2: now.Add(-2 * time.Hour), L3: now.Add(-26 * time.Hour), Dumped: now.Add(-3 * time.Hour)},
			},
			{ID: "cache/sessions", Objective: 15 * minute, Backup: &status.Backup{Age: 40 * minute}, Asked: true, Bucket: known(40 * minute), Replica: &status.Point{State: status.Unreachable}},
			{ID: "files/uploads", Objective: 24 * hour, Asked: true, Bucket: status.Point{State: status.None}, Replica: &status.Point{State: status.Broken}},
		},
		Behind:  []string{"cache/sessions"},
		Drill:   status.Drill{Asked: true, ID: "drill/frende/2024-Q1", At: now.AddDate(0, 0, -10), Succeeded: now.AddDate(0, 0, -10), Outcome: report.Succeeded},
		Review:  system.Date{Time: time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)},
		Running: []status.Run{{ID: "replicate/frende/primary", Started: now.Add(-90 * time.Second)}},
		Problems: []status.Problem{
			{Kind: status.Wrong, Text: "files/uploads: there is no complete backup in primary, and this text goes on behind the end of a line", Mend: "lifeboat backup files uploads"},
			{Kind: status.Late, Text: "cache/sessions: the newest backup is 40m old (objective 15m)", Mend: "lifeboat backup cache sessions"},
		},
	}
	var told strings.Builder
	require.NoError(t, showStatus(&told, s, screen))
	require.Equal(t, `WRONG frende: 1 wrong, 1 overdue                            2024-04-02 07:00 UTC

component         backup   proof   lost now   replica   objective
database/frende   5h       L4      40s        2m+       1h
cache/sessions    40m      none    40m        ?         15m
files/uploads     -        -       ALL        BROKEN    1d

proofs   database/frende: L3 26h ago, L2 2h ago, dump 3h ago
drill    2024-03-23, 10d ago, succeeded: drill/frende/2024-Q1
replica  dr: 1 newest backup not there yet: cache/sessions
plan     next review 2024-06-01
running  replicate/frende/primary (90s)

WRONG    files/uploads: there is no complete backup in primary, and this text
         goes on behind the end of a line
         lifeboat backup files uploads

LATE     cache/sessions: the newest backup is 40m old (objective 15m)
         lifeboat backup cache sessions
`, told.String())
	s.Running[0] = status.Run{ID: "recover/frende/database", Started: now.Add(-90 * time.Second), Phase: string(api.PhaseWaiting)}
	var waiting strings.Builder
	require.NoError(t, showStatus(&waiting, s, screen))
	require.Contains(t, waiting.String(), "\nrunning  recover/frende/database (waiting for approval, 90s)\n")
	s.Behind, s.Away, s.Drill, s.Ledger = nil, []status.Away{{Source: "store primary"}}, status.Drill{Asked: true}, "dr"
	var away strings.Builder
	require.NoError(t, showStatus(&away, s, screen))
	require.Contains(t, away.String(), "\ndrill    none is on record in the copy of the ledger in dr, which may lack the\n         newest\nreplica  dr; whether it has every newest backup is not known\n")
	s.Away[0].Source = status.Temporal
	away.Reset()
	require.NoError(t, showStatus(&away, s, screen))
	require.Contains(t, away.String(), "\nreplica  dr has every newest backup\n", "the stores were asked")
	for line := range strings.SplitSeq(told.String(), "\n") {
		require.LessOrEqual(t, len([]rune(line)), screen, line)
	}
}

func TestAStatusFitsItsScreenAndCutsNoID(t *testing.T) {
	now := time.Date(2024, 4, 2, 7, 0, 0, 0, time.UTC)
	day := 24 * system.Duration(time.Hour)
	s := status.Status{
		System: "frende", At: now, Answer: "OK frende: every component within its objective in dr", Store: "primary", Replica: "dr",
		Components: []status.Component{{
			ID: "configuration/frende", Objective: day, Backup: &status.Backup{Age: day}, Proof: "none", Asked: true,
			Bucket: status.Point{State: status.Known, RPO: day}, Replica: &status.Point{State: status.Broken},
		}},
		Drill:   status.Drill{Asked: true, ID: "schedule/frende/drill-2024-04-01T06:00:00Z", At: now, Succeeded: now, Outcome: report.Succeeded},
		Running: []status.Run{{ID: "schedule/frende/replicate-2024-04-02T06:45:00Z", Started: now}, {ID: "backup/frende/database/20240402T065900Z", Started: now}},
	}
	for _, width := range []int{60, 80, 200} {
		var told strings.Builder
		require.NoError(t, showStatus(&told, s, width))
		for line := range strings.SplitSeq(told.String(), "\n") {
			require.LessOrEqual(t, len([]rune(line)), width, line)
			require.Equal(t, strings.TrimRight(line, " "), line)
		}
		require.Contains(t, told.String(), s.Drill.ID)
		require.Contains(t, told.String(), s.Running[0].ID)
		require.Contains(t, told.String(), s.Running[1].ID)
	}
	var wide strings.Builder
	require.NoError(t, showStatus(&wide, s, 200))
	require.Contains(t, wide.String(), "running  schedule/frende/replicate-2024-04-02T06:45:00Z (0s), backup/frende/database/20240402T065900Z (0s)\n", "nothing is broken that fits")
}
