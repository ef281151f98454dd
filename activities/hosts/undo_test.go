package hosts_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/hosts"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/target"
)

const (
	recovery   = "20240115T094122Z-ce35e8d2"
	recoveryID = "01a21b8f-fbf1-75ee-a1b7-485cce35e8d2"
	undoing    = "20240116T094122Z-aaaaaaaa"
)

func (h *house) hold(components ...string) (found hosts.HoldKeptResult, err error) {
	h.t.Helper()
	value, err := h.environment().ExecuteActivity("hosts.HoldKept", hosts.HoldKeptInput{System: h.system, Of: recoveryID, Components: components, Run: undoing})
	if err == nil {
		require.NoError(h.t, value.Get(&found))
	}
	return found, err
}

func TestWhatARecoveryReplacedIsHeldUntilItIsLetGo(t *testing.T) {
	h := newHouse(t)
	for _, dir := range []string{"pg", "space", "uploads"} {
		h.recovered(dir, recovery)
	}
	require.NoError(t, os.MkdirAll(h.path("pg/pg_tblspc"), 0o700))
	require.NoError(t, os.Symlink(h.path("space"), h.path("pg/pg_tblspc/16400")))
	found, err := h.hold("database/frende", "files/uploads")
	require.NoError(t, err)
	require.Len(t, found.Kept, 2)
	require.Equal(t, recovery, found.Kept[0].Of)
	again, err := h.hold()
	require.NoError(t, err)
	require.Equal(t, found, again)

	h.now = time.Now().AddDate(1, 0, 0)
	left := h.leftovers()
	require.Empty(t, left.Old, "a clean-up takes nothing away, of the tablespace neither")
	for _, one := range found.Kept {
		_, err = target.Lock(t.Context(), one.Dir, "another")
		require.True(t, fault.Has(err, fault.TargetBusy), "%v", err)
	}
	for range 2 {
		_, err = h.environment().ExecuteActivity("hosts.LetGo", hosts.LetGoInput{Kept: found.Kept, Run: undoing})
		require.NoError(t, err)
	}
	require.Len(t, h.leftovers().Old, 3)
}

func TestWhatIsNotKeptIsNotHeld(t *testing.T) {
	refused := func(t *testing.T, h *house, why string, components ...string) {
		t.Helper()
		_, err := h.hold(components...)
		require.ErrorContains(t, err, fault.TargetRefused.Definition().Summary)
		require.ErrorContains(t, err, why)
		for _, dir := range []string{"pg", "uploads"} {
			require.NoFileExists(t, h.path(dir)+".lifeboat-lock")
		}
	}
	t.Run("of a run that replaced nothing", func(t *testing.T) {
		refused(t, newHouse(t), "replaced nothing that is kept on this host")
	})
	t.Run("of one part of a recovery", func(t *testing.T) {
		h := newHouse(t)
		h.recovered("uploads", recovery)
		refused(t, h, "database/frende: target can't be used safely: nothing is kept of run "+recoveryID, "database/frende", "files/uploads")
	})
	t.Run("when its time is over", func(t *testing.T) {
		h := newHouse(t)
		h.recovered("uploads", recovery)
		h.now = time.Now().Add(7*24*time.Hour + time.Second)
		refused(t, h, "it could be undone until ")
	})
	t.Run("when it was swapped again", func(t *testing.T) {
		h := newHouse(t)
		h.recovered("uploads", recovery)
		h.recovered("uploads", "20240117T094122Z-bbbbbbbb")
		refused(t, h, "swapped once more since run "+recovery)
	})
	t.Run("while another run holds a directory", func(t *testing.T) {
		h := newHouse(t)
		h.recovered("pg", recovery)
		h.recovered("uploads", recovery)
		held, err := target.Lock(t.Context(), h.path("uploads"), "another")
		require.NoError(t, err)
		_, err = h.hold()
		require.ErrorContains(t, err, fault.TargetBusy.Definition().Summary)
		require.NoFileExists(t, h.path("pg")+".lifeboat-lock")
		require.NoError(t, held.Release())
	})
	t.Run("what was put where nothing was stays", func(t *testing.T) {
		h := newHouse(t)
		h.recovered("pg", recovery)
		require.NoError(t, os.RemoveAll(h.path("uploads")))
		require.Empty(t, h.recovered("uploads", recovery))
		found, err := h.hold("database/frende", "files/uploads")
		require.NoError(t, err)
		require.Len(t, found.Kept, 1)
		require.Len(t, found.Notes, 1)
		require.Contains(t, found.Notes[0], "files/uploads: there was nothing in place of ")
	})
}
