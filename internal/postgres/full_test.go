package postgres_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/tree"
)

// Row 13 of the reliability table, for the target of a restore: the disk is full in its
// middle. That is named, the source is unharmed, and with room the restore goes on.
func TestAFullDiskEndsARestoreWhichGoesOnWithRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root mounts a disk that is small enough
	}
	c := startCluster(t)
	c.exec(t, "CREATE TABLE t (id int)")
	result, from := c.backup(t)
	body, err := os.ReadFile(filepath.Join(from, postgres.StreamBase))
	require.NoError(t, err)
	const chunk = 1 << 20
	torture.Row(t, 13, 2, 30, func(t *testing.T, n int, random *rand.Rand) {
		place := t.TempDir()
		disk := c.lab.NewSmallDisk(t, place, int64(1<<20+random.IntN(len(body)/2)))
		root := filepath.Join(place, "staged")
		restore := func() error {
			entries := append([]tree.Entry{{Path: ".", Kind: tree.Dir, Mode: 0o700, UID: c.owner.UID, GID: c.owner.GID, ModTime: time.Now()}}, result.Tables[postgres.StreamBase]...)
			x, err := tree.NewExtraction(tree.Config{
				Root: root, Entries: entries, Backup: "full", Journal: root + ".journal", Last: postgres.ControlFile, Owner: tree.OwnerAs(c.owner.UID, c.owner.GID),
			})
			if err != nil {
				return err
			}
			defer func() { _ = x.Close() }() // what did not get there is told before
			for at := 0; at*chunk < len(body); at++ {
				if x.Done(at) {
					continue
				}
				if err := x.Write(at, int64(at*chunk), body[at*chunk:min((at+1)*chunk, len(body))]); err != nil {
					return err
				}
			}
			return x.Finish(t.Context())
		}
		err := restore()
		require.True(t, fault.Has(err, fault.NoSpace), "%v", err)
		require.ErrorContains(t, err, place)
		require.NotEmpty(t, fault.HintOf(err))
		require.NoFileExists(t, filepath.Join(root, postgres.ControlFile), "nobody can start the half of it")
		c.exec(t, "INSERT INTO t VALUES (1)") // the source goes on

		disk.Grow(1 << 30)
		require.NoError(t, restore())
		if n > 0 {
			return
		}
		_, err = postgres.VerifyFiles(t.Context(), c.BinDir, root, filepath.Join(from, postgres.StreamManifest), filepath.Join(place, "verify.log"))
		require.NoError(t, err)
	})
}
