package target

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStagingIsAReadableSibling(t *testing.T) {
	require.Equal(t, "/var/lib/postgresql/15/main.lifeboat-new-recover-frende-database-frende",
		Staging("/var/lib/postgresql/15/main/", "recover/frende/database/frende"))
	require.Equal(t, "/srv/uploads.lifeboat-old-drill-frende-2024-Q1", Aside("/srv/uploads", "drill/frende/2024-Q1"))
}

func TestNamesStayShortAndApart(t *testing.T) {
	long := strings.Repeat("recover/very-long-name/", 30)
	for _, id := range []string{long, "", "..", "a\x00b", "über/frende", "a b", "../../etc"} {
		name := Staging("/srv/data", id)
		require.Equal(t, "/srv", filepath.Dir(name), "%q stays a sibling", id)
		require.Less(t, len(filepath.Base(name)), 200)
		require.NotContains(t, name, "\x00")
	}
	require.NotEqual(t, Staging("/srv/data", long+"a"), Staging("/srv/data", long+"b"))
	require.NotEqual(t, Staging("/srv/data", "a b"), Staging("/srv/data", "a_b"))
}
