package keys

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestABoxOpensWhatAnyOfItsKeysSealedAndNothingElse(t *testing.T) {
	older, newer := NewSecret([]byte(strings.Repeat("5a", 32))), NewSecret([]byte(strings.Repeat("c3", 32)))
	box := func(secrets ...Secret) *Box {
		b, err := NewBox("temporal.payload_keys", secrets)
		require.NoError(t, err)
		return b
	}
	before, both, after := box(older), box(newer, older), box(newer)
	require.Equal(t, append(after.KeyIDs(), before.KeyIDs()...), both.KeyIDs(), "an ID is the key's, wherever it stands")

	sealed, err := before.Seal([]byte("frende"), []byte("known"))
	require.NoError(t, err)
	again, err := before.Seal([]byte("frende"), []byte("known"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "equal texts don't look equal")
	id := before.KeyIDs()[0]
	plain, err := both.Open(id, sealed, []byte("known"))
	require.NoError(t, err)
	require.Equal(t, "frende", string(plain))

	_, err = after.Open(id, sealed, []byte("known"))
	require.True(t, fault.Has(err, fault.KeyUnavailable), "%v", err)
	require.ErrorContains(t, err, id)
	for what, open := range map[string]func() ([]byte, error){
		"another place": func() ([]byte, error) { return both.Open(id, sealed, []byte("other")) },
		"another key's": func() ([]byte, error) { return both.Open(after.KeyIDs()[0], sealed, []byte("known")) },
		"a changed byte": func() ([]byte, error) {
			return both.Open(id, append(sealed[:len(sealed)-1:len(sealed)-1], sealed[len(sealed)-1]^1), []byte("known"))
		},
		"cut off": func() ([]byte, error) { return both.Open(id, sealed[:11], []byte("known")) },
	} {
		_, err := open()
		require.True(t, fault.Has(err, fault.IntegrityError), "%s: %v", what, err)
	}
	require.NotContains(t, both.KeyIDs()[1], "5a5a")

	empty := box()
	require.False(t, empty.Seals())
	_, err = empty.Seal(nil, nil)
	require.True(t, fault.Has(err, fault.KeyUnavailable), "%v", err)
	_, err = NewBox("temporal.payload_keys", []Secret{newer, NewSecret([]byte("correct horse battery"))})
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
	require.ErrorContains(t, err, "temporal.payload_keys: configuration is not valid: key 2 is not 32 bytes")
	require.NotContains(t, err.Error(), "horse")
}
