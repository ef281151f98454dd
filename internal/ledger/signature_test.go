package ledger_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store/mem"
)

// The signature stands outside of what it signs, and the newest object before any hash of it.
func TestSignatureInAnotherFormIsAnAlteration(t *testing.T) {
	s := mem.New("memory")
	fill(t, open(t, s, nil), 1)
	original := raw(t, s, object("host-a", 1))
	replace(t, s, object("host-a", 1), bytes.Replace(original, []byte(`"signature":"`), []byte(`"signature":"\n`), 1))
	for _, err := range open(t, s, nil).Read(t.Context(), ledger.Filter{}) {
		require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
		require.ErrorContains(t, err, object("host-a", 1))
		return
	}
	t.Fatal("nothing was read")
}
