package replicate_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
)

func TestProbesThatComeAndGoAreNotReplicated(t *testing.T) {
	from, to := mem.New("near"), mem.New("far")
	for _, key := range []string{"format.json", store.ProbeFolder + "probe"} {
		_, err := from.Put(t.Context(), key, []byte(key), store.PutOptions{})
		require.NoError(t, err)
	}
	copied, err := replicate.Run(t.Context(), replicate.Config{From: from, To: to, Memory: vault.NewBudget(1 << 20)})
	require.NoError(t, err)
	require.Equal(t, int64(1), copied.Objects)
	for info, err := range to.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		require.Equal(t, "format.json", info.Key)
	}
}
