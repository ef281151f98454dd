package main

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

func TestSizesAreRead(t *testing.T) {
	for text, bytes := range map[string]size{"0": 0, "17": 17, "3KiB": 3 << 10, "200MiB": 200 << 20, "2GiB": 2 << 30} {
		var s size
		require.NoError(t, s.Set(text))
		require.Equal(t, bytes, s)
	}
	var s size
	for _, bad := range []string{"", "-1", "MiB", "1TB"} {
		require.Error(t, s.Set(bad), bad)
	}
}

func TestPhotosAreTheSameForTheSameSeed(t *testing.T) {
	totals := map[uint64]int64{}
	for _, seed := range []uint64{1, 2} {
		first, err := fillPhotos(t.Context(), t.TempDir(), 30, seed)
		require.NoError(t, err)
		dir := t.TempDir()
		second, err := fillPhotos(t.Context(), dir, 30, seed)
		require.NoError(t, err)
		require.Equal(t, first, second)
		totals[seed] = first
		files := 0
		require.NoError(t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if !e.IsDir() {
				files++
			}
			return err
		}))
		require.Equal(t, 30, files)
	}
	require.NotEqual(t, totals[1], totals[2])
}

func TestRedisGetsTheKeysAskedFor(t *testing.T) {
	server := lab.StartRedis(t, lab.RedisOptions{})
	require.NoError(t, fillRedis(t.Context(), site.Redis{Address: server.Address, Password: server.Password}, 2345, 1))
	db := redis.NewClient(&redis.Options{Addr: server.Address, Password: server.Password})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.EqualValues(t, 2345, db.DBSize(t.Context()).Val())
}
