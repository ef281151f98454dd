package vault

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestAListingFindsWhatAStoreLacksAndReadsNoData(t *testing.T) {
	c := newCopies(t)
	newest, oldest := c.made[2], c.made[0]
	seen := &counted{Store: c.primary, lists: map[string]int{}}
	listing := c.both(t, seen).NewListing()
	for range 2 {
		found, err := listing.Look(t.Context(), newest.Key)
		require.NoError(t, err)
		require.EqualValues(t, len(newest.Objects)+1, found.Objects, "and the manifest")
		require.True(t, newest.Finished.Equal(found.Finished))
		require.Zero(t, found.LockedUntil)
	}
	for folder, times := range seen.lists {
		if folder == newest.Key+"/chunk/" {
			require.Equal(t, 1, times, "a folder is listed once")
		}
	}
	lost := newest.Objects[1].Key
	c.lose(t, c.primary, lost, newest.Objects[2].Key)
	_, err := c.both(t, c.primary).NewListing().Look(t.Context(), newest.Key)
	require.True(t, fault.Has(err, fault.BackupIncomplete), "the replica's copy does not count: %v", err)
	require.ErrorContains(t, err, "no store that answers has "+lost+", nor 1 more of the")
	_, err = c.alone(t).NewListing().Look(t.Context(), newest.Key)
	require.NoError(t, err)

	short := oldest.Objects[0].Key
	body := raw(t, c.primary, short)
	c.lose(t, c.primary, short)
	put(t, c.primary, short, body[:len(body)-1])
	_, err = c.both(t, c.primary).NewListing().Look(t.Context(), oldest.Key)
	require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
	require.ErrorContains(t, err, short)

	c.lose(t, c.primary, keysUnder(t, c.primary, "keys/"+c.made[1].KeyID+"/")...)
	_, err = c.both(t, c.primary).NewListing().Look(t.Context(), c.made[1].Key)
	require.True(t, fault.Has(err, fault.BackupIncomplete), "%v", err)
	require.ErrorContains(t, err, "keys/"+c.made[1].KeyID)

	c.lose(t, c.replica, manifestKey(newest.Key))
	_, err = c.alone(t).NewListing().Look(t.Context(), newest.Key)
	require.True(t, fault.Has(err, fault.ObjectMissing), "%v", err)
	_, err = c.both(t, gone{c.primary}).NewListing().Look(t.Context(), oldest.Key)
	require.True(t, fault.Has(err, fault.StorageUnavailable), "%v", err)
}
