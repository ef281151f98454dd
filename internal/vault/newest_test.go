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
