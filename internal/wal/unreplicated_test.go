package wal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/wal"
)

func TestWhatTheReplicaLacksIsKnown(t *testing.T) {
	primary, replica := mem.New("primary"), mem.New("replica")
	dir := dataDir(t, system)
	push(t, newArchive(t, primary, nil), dir, 1, 2, 3, 4, 5)
	copyAll(t, primary, replica)
	push(t, newArchive(t, primary, nil), dir, 1, 6, 7)
	require.NoError(t, replica.Delete(t.Context(), objectOf(name(1, 2)), ""))
	require.NoError(t, replica.Delete(t.Context(), objectOf(name(1, 4)), ""))
	a := newArchive(t, primary, replica)
	believed := wal.Believed{Point: from(1, 3), Timeline: 1}
	found, err := a.Replicated(t.Context(), believed, time.Hour)
	require.NoError(t, err)
	require.Equal(t, wal.Replicated{Newest: name(1, 5), Lacks: []string{name(1, 4), name(1, 6), name(1, 7)}}, found, "what lies before the newest base backup is not asked for")
	found, err = a.Replicated(t.Context(), believed, time.Nanosecond)
	require.NoError(t, err)
	require.Equal(t, found.Lacks, found.Late)
	copyAll(t, primary, replica)
	found, err = a.Replicated(t.Context(), believed, time.Nanosecond)
	require.NoError(t, err)
	require.Equal(t, wal.Replicated{Newest: name(1, 7)}, found)
	_, err = newArchive(t, primary, nil).Replicated(t.Context(), believed, time.Hour)
	kindIs(t, fault.InputInvalid, err)
}
