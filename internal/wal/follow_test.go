package wal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/wal"
)

// forked is a line of a timeline history: the parent was left within its n-th segment.
func forked(parent uint32, n uint64) string {
	return fmt.Sprintf("%d\t%s\tno recovery target specified\n", parent, postgres.LSN(n*size+100))
}

func TestFollowLeadsToTheTimelineOfAPromotedDirectory(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	old := wal.Old{DataDir: dataDir(t, system), Timeline: 1, At: 7 * size}
	follow := func() (wal.Pin, error) { return a.Follow(t.Context(), pin, from(1, 3), old) }
	same, err := follow()
	require.NoError(t, err)
	require.Equal(t, pin, same, "it is on the archive's timeline")

	old.Timeline = 2
	_, err = follow()
	kindIs(t, fault.TargetRefused, err)
	require.ErrorContains(t, err, "00000002.history")
	write(t, old.DataDir, postgres.HistoryName(2), []byte("nonsense"))
	_, err = follow()
	kindIs(t, fault.TargetRefused, err)

	// The fork lies behind segments that were archived of the old timeline.
	write(t, old.DataDir, postgres.HistoryName(2), []byte(forked(1, 5)))
	followed, err := follow()
	require.NoError(t, err)
	require.EqualValues(t, 2, followed.Timeline)
	require.EqualValues(t, 2, followed.Newest)
	require.Equal(t, name(1, 4), followed.End)
	require.Equal(t, name(2, 5), followed.At(5).Name(size))
	kindIs(t, fault.WALEnd, a.Fetch(t.Context(), followed, name(1, 5), t.TempDir()+"/segment"))
	kindIs(t, fault.WALEnd, a.Fetch(t.Context(), followed, postgres.HistoryName(2), t.TempDir()+"/history"))
	require.NoError(t, a.Fetch(t.Context(), followed, name(1, 4), t.TempDir()+"/segment"))

	// It lies ahead of all that was.
	write(t, old.DataDir, postgres.HistoryName(2), []byte(forked(1, 9)))
	followed, err = follow()
	require.NoError(t, err)
	require.Equal(t, name(1, 6), followed.End)

	// A second failover from there.
	old.Timeline = 3
	write(t, old.DataDir, postgres.HistoryName(3), []byte(forked(1, 5)+forked(2, 8)))
	followed, err = follow()
	require.NoError(t, err)
	require.EqualValues(t, 3, followed.Timeline)
	require.Equal(t, []uint32{2, 3}, followed.Salvaged)
	require.Equal(t, name(1, 4), followed.End)
	require.Equal(t, name(2, 7), followed.At(7).Name(size))
	require.Equal(t, name(3, 8), followed.At(8).Name(size))
}

func TestFollowRefusesADirectoryThatHasGoneAnotherWay(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5)
	pushHistory(t, a, dir, 2, forked(1, 5))
	push(t, a, dir, 2, 5, 6)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.EqualValues(t, 2, pin.Timeline)
	for what, c := range map[string]struct {
		old     wal.Old
		history string
		says    string // "": it is not refused
	}{
		"the archive's timeline":                      {wal.Old{Timeline: 2}, forked(1, 5), ""},
		"the archive's timeline, without its history": {wal.Old{Timeline: 2}, "", ""},
		"another one of the same number":              {wal.Old{Timeline: 2}, forked(1, 4), "its timeline 2 was forked off at"},
		"one that was forked off before":              {wal.Old{Timeline: 3}, forked(1, 4), "its timeline 3 was forked off at"},
		"one that goes on from another of the number": {wal.Old{Timeline: 3}, forked(1, 4) + forked(2, 6), "the archive goes on with timeline 2"},
		"the old timeline, shut down before the fork": {wal.Old{Timeline: 1, Clean: true, At: 5 * size}, "", ""},
		"the old timeline, shut down after the fork":  {wal.Old{Timeline: 1, Clean: true, At: 6 * size}, "", "which the archive left for timeline 2"},
		"the old timeline, crashed":                   {wal.Old{Timeline: 1, At: 5 * size}, "", "which the archive left for timeline 2"},
		"the old timeline, of a standby":              {wal.Old{Timeline: 1, Standby: true, At: 5 * size}, "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			c.old.DataDir = dataDir(t, system)
			if c.history != "" {
				write(t, c.old.DataDir, postgres.HistoryName(c.old.Timeline), []byte(c.history))
			}
			followed, err := a.Follow(t.Context(), pin, from(1, 3), c.old)
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, pin, followed)
				return
			}
			kindIs(t, fault.TargetRefused, err)
			require.ErrorContains(t, err, c.says)
			require.Contains(t, fault.HintOf(err), c.old.DataDir)
		})
	}
}

func TestFollowRefusesAForkBeforeTheBackupsEndAndANumberThatIsTaken(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	old := wal.Old{DataDir: dataDir(t, system), Timeline: 2, At: 8 * size}
	write(t, old.DataDir, postgres.HistoryName(2), []byte(forked(1, 3)))
	_, err = a.Follow(t.Context(), pin, from(1, 4), old)
	kindIs(t, fault.TargetRefused, err)
	require.ErrorContains(t, err, "before the backup's end")

	// Timeline 2 of the archive was abandoned before the backup.
	pushHistory(t, a, dir, 2, forked(1, 1))
	push(t, a, dir, 2, 1)
	pin, err = a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.EqualValues(t, 1, pin.Timeline)
	write(t, old.DataDir, postgres.HistoryName(2), []byte(forked(1, 5)))
	_, err = a.Follow(t.Context(), pin, from(1, 3), old)
	kindIs(t, fault.TargetRefused, err)
	require.ErrorContains(t, err, "not the one that the archive holds under this number")
}
