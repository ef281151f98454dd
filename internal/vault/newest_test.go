package vault

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestTheNewestBackupThatSuitsIsOpenedAndOneThatIsNotWholeIsPassedOver(t *testing.T) {
	c := newCopies(t)
	all := func(*Manifest) (bool, error) { return true, nil }
	not := func(key string) func(*Manifest) (bool, error) {
		return func(m *Manifest) (bool, error) { return m.Key != key, nil }
	}
	newest, err := c.alone(t).OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	opened, err := c.alone(t).OpenNewest(t.Context(), ofFrende(), time.Time{}, all)
	require.NoError(t, err)
	require.Equal(t, newest.Manifest().Key, opened.Manifest().Key)

	opened, err = c.alone(t).OpenNewest(t.Context(), ofFrende(), newest.At, all)
	require.NoError(t, err)
	require.Equal(t, c.made[1].Key, opened.Manifest().Key, "it began before")
	opened, err = c.alone(t).OpenNewest(t.Context(), ofFrende(), time.Time{}, not(c.made[2].Key))
	require.NoError(t, err)
	require.Equal(t, c.made[1].Key, opened.Manifest().Key)
	require.Empty(t, opened.Incomplete, "what does not suit is not told")

	c.lose(t, c.replica, c.made[1].Objects[1].Key)
	opened, err = c.alone(t).OpenNewest(t.Context(), ofFrende(), newest.At, all)
	require.NoError(t, err)
	require.Equal(t, c.made[0].Key, opened.Manifest().Key)
	require.Len(t, opened.Incomplete, 1)
	require.Equal(t, c.made[1].Key, opened.Incomplete[0].Backup)

	_, err = c.alone(t).OpenNewest(t.Context(), ofFrende(), time.Time{}, func(*Manifest) (bool, error) { return false, nil })
	requireFault(t, err, fault.BackupUnknown, "database-backups/frende")
}

func TestADumpIsNeverTheNewestBackup(t *testing.T) {
	v := small(t, nil)
	in := testIntent("gzip")
	base := backUp(t, v, in, map[string][]byte{"base.tar": content(1, 100)})
	var dumps []string
	for i, kind := range []string{KindSQL, KindCustom} {
		in.Kind, in.RunID, in.At = kind, "dump/"+kind, in.At.Add(time.Duration(i+1)*time.Hour)
		dumps = append(dumps, backUp(t, v, in, map[string][]byte{"dump": content(1, 100)}).Key)
	}
	in.Kind, in.RunID, in.At = KindSQL, "dump/future", time.Now().AddDate(1, 0, 0)
	backUp(t, v, in, nil)
	latest, err := v.Latest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, base.Key, latest.Key)
	opened, err := v.OpenLatest(t.Context(), ofFrende())
	require.NoError(t, err)
	require.Equal(t, base.Key, opened.Manifest().Key)
	require.Empty(t, opened.PassedOver, "nor is one that is dated in the future told of")
	opened, err = v.OpenNewest(t.Context(), ofFrende(), time.Time{}, func(*Manifest) (bool, error) { return true, nil })
	require.NoError(t, err)
	require.Equal(t, base.Key, opened.Manifest().Key)
	for _, key := range dumps {
		_, err := v.OpenWhole(t.Context(), key)
		require.NoError(t, err, "it opens when it is named")
	}
}
