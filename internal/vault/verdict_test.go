package vault

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func at(hour int) time.Time { return time.Date(2024, 1, 18, hour, 0, 0, 0, time.UTC) }

func TestABackupThatWasFoundDamagedIsPassedOverUntilItPasses(t *testing.T) {
	c := newCopies(t)
	v := c.both(t, c.primary)
	of := Filter{Folder: "database-backups", Component: "frende"}
	newest, err := v.Open(t.Context(), c.made[2].Key)
	require.NoError(t, err)
	require.NoError(t, newest.Judge(t.Context(), Verdict{Level: "L1", Passed: true, Run: "verify/1", At: at(1)}))
	bad := Verdict{Level: "L3", Run: "verify/2", At: at(2), What: "table public.users: its 7 rows are not the same"}
	require.NoError(t, newest.Judge(t.Context(), bad))
	require.NoError(t, newest.Judge(t.Context(), bad), "the step runs again")

	opened, err := v.OpenLatest(t.Context(), of)
	require.NoError(t, err)
	require.Equal(t, c.made[1].Key, opened.Manifest().Key)
	require.Equal(t, []Incomplete{{Backup: c.made[2].Key, Why: "a verification at L3 found it damaged on 2024-01-18T02:00:00Z: table public.users: its 7 rows are not the same"}}, opened.Incomplete)
	opened, err = v.OpenNewest(t.Context(), of, time.Time{}, func(*Manifest) (bool, error) { return true, nil })
	require.NoError(t, err)
	require.Equal(t, c.made[1].Key, opened.Manifest().Key)
	named, err := v.OpenWhole(t.Context(), c.made[2].Key)
	require.NoError(t, err, "a person may name it all the same")
	err = named.Sound(t.Context())
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.Contains(t, fault.HintOf(err), "lifeboat verify "+c.made[2].Key+" --level 3")

	require.NoError(t, newest.Judge(t.Context(), Verdict{Level: "L2", Passed: true, Run: "verify/3", At: at(3)}))
	require.Error(t, newest.Sound(t.Context()), "a lower level says nothing about what the higher one found")
	require.NoError(t, newest.Judge(t.Context(), Verdict{Level: "L3", Passed: true, Run: "verify/4", At: at(4)}))
	opened, err = v.OpenLatest(t.Context(), of)
	require.NoError(t, err)
	require.Equal(t, c.made[2].Key, opened.Manifest().Key)
	require.Empty(t, opened.Incomplete)
}

func TestAVerdictThatIsKnownInOneRegionCountsInBoth(t *testing.T) {
	c := newCopies(t)
	for _, made := range c.made {
		backup, err := c.both(t, c.primary).Open(t.Context(), made.Key)
		require.NoError(t, err)
		require.NoError(t, backup.Judge(t.Context(), Verdict{Level: "L2", Run: "verify/1", At: at(1), What: "block 7 of base/5/16384"}))
	}
	_, err := c.both(t, c.primary).OpenLatest(t.Context(), Filter{Folder: "database-backups", Component: "frende"})
	require.True(t, fault.Has(err, fault.VerificationFailed), "%v", err)
	require.Contains(t, fault.HintOf(err), "none of the 3 backups up to it is whole and sound")
	require.Contains(t, fault.HintOf(err), "--to backup:"+c.made[2].Key)

	// The replica, alone, was not told yet, and with an unreachable primary it is all that is asked.
	opened, err := c.both(t, gone{c.primary}).OpenLatest(t.Context(), Filter{Folder: "database-backups", Component: "frende"})
	require.NoError(t, err)
	require.Equal(t, c.made[2].Key, opened.Manifest().Key)
}

func TestAVerdictThatIsNotAuthenticSaysNothing(t *testing.T) {
	c := newCopies(t)
	v := c.both(t, c.primary)
	backup, err := v.Open(t.Context(), c.made[2].Key)
	require.NoError(t, err)
	folder := verdictFolder(backup.Manifest().Key)
	put(t, c.primary, folder+"20240118T010000Z-L3", []byte(`{"level":"L3","passed":false}`))
	require.NoError(t, v.PutSealed(t.Context(), folder+"20240118T020000Z-L3", "wal-frende-20240118", []byte(`{"level":"L3","passed":false,"at":"2024-01-18T02:00:00Z"}`), SealedOptions{}))
	other, err := v.Open(t.Context(), c.made[1].Key)
	require.NoError(t, err)
	require.NoError(t, other.Judge(t.Context(), Verdict{Level: "L3", Run: "verify/1", At: at(3), What: "another one"}))
	moved := keysUnder(t, c.primary, verdictFolder(other.Manifest().Key))[0]
	put(t, c.primary, folder+path.Base(moved), raw(t, c.primary, moved))

	verdicts, err := backup.Verdicts(t.Context())
	require.NoError(t, err)
	require.Empty(t, verdicts)
	require.NoError(t, backup.Sound(t.Context()))
}

func TestWhatIsKeptBesideABackupIsNeverChanged(t *testing.T) {
	c := newCopies(t)
	backup, err := c.both(t, c.primary).Open(t.Context(), c.made[2].Key)
	require.NoError(t, err)
	var got []string
	require.True(t, fault.Has(backup.Kept(t.Context(), "reference", &got), fault.ObjectMissing))
	require.NoError(t, backup.Keep(t.Context(), "reference", []string{"users"}))
	require.NoError(t, backup.Keep(t.Context(), "reference", []string{"users"}), "the step runs again")
	err = backup.Keep(t.Context(), "reference", []string{"matches"})
	require.True(t, fault.Has(err, fault.ObjectExists), "%v", err)
	require.NoError(t, backup.Kept(t.Context(), "reference", &got))
	require.Equal(t, []string{"users"}, got)
	stored := string(raw(t, c.primary, backup.Manifest().Key+"/reference"))
	require.False(t, strings.Contains(stored, "users"), "it is sealed")
}
