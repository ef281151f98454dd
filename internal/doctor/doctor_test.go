package doctor_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
)

// archived has the server archive what it has, and something new.
func (h *house) archived(ctx context.Context, t *testing.T) {
	t.Helper()
	conn := h.sql(ctx, t)
	var segment string
	require.NoError(t, conn.QueryRow(ctx, "SELECT pg_walfile_name(pg_current_wal_lsn()) FROM txid_current()").Scan(&segment))
	_, err := conn.Exec(ctx, "SELECT pg_switch_wal()")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var done bool
		err := conn.QueryRow(ctx, "SELECT last_archived_wal >= $1 FROM pg_stat_archiver", segment).Scan(&done)
		return err == nil && done
	}, patience, tick)
}

func TestAHouseInWhichAllIsWellHasNoProblem(t *testing.T) {
	shared.archived(t.Context(), t)
	found := shared.examine(t, nil)
	require.Empty(t, found.Of(doctor.Problem), "%+v", found.Of(doctor.Problem))
	require.Empty(t, found.Of(doctor.Unknown), "%+v", found.Of(doctor.Unknown))
	require.True(t, found.Healthy())
	require.Equal(t, []string{"stores/far/object lock"}, found.ids(doctor.Warning), "%+v", found.Of(doctor.Warning))
	require.Greater(t, found.OK, 80)
	areas := map[doctor.Area]bool{}
	for _, f := range found.Findings {
		areas[f.Area] = true
	}
	require.Len(t, areas, len(doctor.Areas()), "every area is examined")
}
