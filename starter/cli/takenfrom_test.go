package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/vault"
)

func TestABaseBackupSaysWhichServerItWasCopiedFrom(t *testing.T) {
	for facts, want := range map[string]string{
		`{"standby":"postgresql at standby:5432"}`:  "the standby postgresql at standby:5432",
		`{"no_standby":"connect to it: no answer"}`: "the primary: connect to it: no answer",
		`{"system_id":"7"}`:                         "the primary",
	} {
		from, err := takenFrom(&vault.Manifest{Facts: vault.Facts{"postgres": []byte(facts)}})
		require.NoError(t, err)
		require.Equal(t, want, from)
	}
	from, err := takenFrom(&vault.Manifest{Facts: vault.Facts{"tree": []byte(`{}`)}})
	require.NoError(t, err)
	require.Empty(t, from, "files are copied from no server")
	_, err = takenFrom(&vault.Manifest{Facts: vault.Facts{"postgres": []byte(`[]`)}})
	require.True(t, fault.Has(err, fault.FormatUnsupported), "%v", err)
}
