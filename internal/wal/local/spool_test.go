package local_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/postgres/walfile"
	"github.com/frende/lifeboat/internal/wal/local"
)

// What a crash left half written is not tried over and over while somebody keeps ahead.
func TestAFileThatIsNotSoundIsLeftToTheCallerAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := local.SpoolOf(filepath.Join(dir, "pin.json"))
	require.NoError(t, os.Mkdir(s.Dir(), 0o700))
	lock, err := os.Create(filepath.Join(s.Dir(), local.SpoolLock))
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	const name = "000000010000000000000001"
	pin := local.Pin{
		Cluster: "orders", SystemID: "7000000000000000000", Timeline: 1, Newest: 1, SegmentSize: walfile.DefaultSegmentSize,
		History: []local.Branch{{Timeline: 1}}, Start: name, End: name,
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), name+".00000000"), make([]byte, 1<<20), 0o600))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	taken, _, err := s.Await(t.Context(), pin, name, filepath.Join(dir, "RECOVERYXLOG"))
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.False(t, taken)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "it was read once, and not until patience ended")
}
