package system_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

func TestAStandbyIsOfProductionAlone(t *testing.T) {
	t.Parallel()
	text := strings.Replace(good, "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: {connection: env:KEY}\n", 1)
	require.NoError(t, compiledSchema(t).Validate(tree(t, text)))
	s, err := system.Parse("lifeboat.yaml", []byte(text), secrets)
	require.NoError(t, err)
	require.Equal(t, &system.Standby{Connection: "env:KEY", Lag: system.Duration(time.Minute)}, s.Databases[0].Standby)
	at, _, err := s.ForTarget("box")
	require.NoError(t, err)
	require.Nil(t, at.Databases[0].Standby, "nothing in a sandbox asks production's")
	require.NotNil(t, s.Databases[0].Standby)
}
