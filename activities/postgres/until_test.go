package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	activities "github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
)

// A drill takes its reference at the end of a segment, and a scheduled backup may
// end before the recovery begins: that one holds more than the reference.
func TestARecoveryThatEndsWithASegmentTakesABackupFromBeforeIt(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.exec(t, "CREATE TABLE users (name text)")
	h.add(t, "a")
	first := h.backup(t, "backup/1", time.Now().Add(-time.Minute))
	h.add(t, "b")
	before := h.switched(t)
	h.add(t, "c")
	second := h.backup(t, "backup/2", time.Now())
	h.switched(t)
	until := func(segment string) (activities.RestorePreflightResult, error) {
		ref := h.ref("recover/1")
		ref.Until = segment
		return do(t, h.activities.RestorePreflight, activities.RestorePreflightInput{Ref: ref})
	}
	found, err := until(before)
	require.NoError(t, err)
	require.Equal(t, first.Key, found.Key)
	require.Equal(t, before, found.Span.Last)
	found, err = until("")
	require.NoError(t, err)
	require.Equal(t, second.Key, found.Key)
	_, err = until("000000010000000000000001")
	require.True(t, fault.Has(err, fault.BackupUnknown), "%v", err)
	require.ErrorContains(t, err, "000000010000000000000001")
}
