package vault

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store/mem"
)

func TestBackupsAreListedFromTheirNamesNewestFirst(t *testing.T) {
	v := small(t, nil)
	_, err := v.Latest(t.Context(), Filter{Folder: "database-backups"})
	requireFault(t, err, fault.BackupUnknown, "database-backups")
	day := time.Date(2023, 12, 30, 2, 0, 0, 0, time.UTC)
	for i := range 5 {
		in := testIntent("zstd")
		in.At, in.RunID = day.AddDate(0, 0, i), in.RunID+string(rune('a'+i))
		if i == 4 { // the newest one was never finished
			_, err := v.Begin(t.Context(), in)
			require.NoError(t, err)
			continue
		}
		backUp(t, v, in, map[string][]byte{"s": content(1, 100)})
	}
	in := testIntent("zstd")
	in.Folder, in.Kind, in.Component, in.At = "redis-backups", "rdb", "frende_cache", day
	backUp(t, v, in, nil)
	put(t, v.Store(), "database-backups/2024/01/02/not one of ours/manifest", noise(1, 500))

	var keys []string
	for s, err := range v.Backups(t.Context(), Filter{}) {
		require.NoError(t, err)
		require.Equal(t, s.Key != "database-backups/2024/01/03/frende_db_backup_20240103_020000.base", s.Complete)
		require.Equal(t, "primary", s.Store)
		keys = append(keys, s.Key)
	}
	require.Equal(t, []string{
		"database-backups/2024/01/03/frende_db_backup_20240103_020000.base",
		"database-backups/2024/01/02/frende_db_backup_20240102_020000.base",
		"database-backups/2024/01/01/frende_db_backup_20240101_020000.base",
		"database-backups/2023/12/31/frende_db_backup_20231231_020000.base",
		"database-backups/2023/12/30/frende_db_backup_20231230_020000.base",
		"redis-backups/2023/12/30/frende_cache_redis_backup_20231230_020000.rdb",
	}, keys)

	latest, err := v.Latest(t.Context(), Filter{Folder: "database-backups", Component: "frende"})
	require.NoError(t, err)
	require.Equal(t, keys[1], latest.Key)
	require.Equal(t, "base", latest.Kind)
	require.Equal(t, day.AddDate(0, 0, 3), latest.At)
	latest, err = v.Latest(t.Context(), Filter{Component: "frende_cache"})
	require.NoError(t, err)
	require.Equal(t, keys[5], latest.Key)
	_, err = v.Latest(t.Context(), Filter{Folder: "file-backups", Component: "uploads"})
	requireFault(t, err, fault.BackupUnknown, "file-backups/uploads")

	emptied := v.WithStores(mem.New("emptied"), v.Store()) // whoever empties a bucket hides nothing
	latest, err = emptied.Latest(t.Context(), Filter{Folder: "database-backups"})
	require.NoError(t, err)
	require.Equal(t, "primary", latest.Store)
}

func TestWhatIsNoBackupIsNotOpened(t *testing.T) {
	v := small(t, nil)
	m := backUp(t, v, testIntent("zstd"), nil)
	_, err := v.Open(t.Context(), m.Key+"/")
	require.NoError(t, err)
	for _, key := range []string{
		"", "x", "../" + m.Key, "redis-backups" + m.Key[len("database-backups"):], m.Key + "x",
		"database-backups/2024/01/16/frende_db_backup_20240115_020000.base", "database-backups/2024/01/15/frende_db_backup_20240115_020001.base",
	} {
		_, err := v.Open(t.Context(), key)
		require.Equal(t, fault.BackupUnknown, fault.KindOf(err), "%q: %v", key, err)
	}
	in := testIntent("zstd")
	in.At = in.At.Add(time.Second)
	w, err := v.Begin(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = v.Open(t.Context(), w.Key())
	requireFault(t, err, fault.BackupIncomplete, w.Key())
	_, err = open(t, v, m.Key).Open(t.Context(), "no such")
	requireFault(t, err, fault.InputInvalid, "no such")
}

func TestAPlantedNewestBackupIsPassedOverOrNamesTheOneBefore(t *testing.T) {
	primary, replica := mem.New("primary"), mem.New("replica")
	now := time.Date(2024, 1, 20, 12, 0, 0, 0, time.UTC)
	v := small(t, func(c *Config) { c.Store, c.Replica, c.Now = primary, replica, func() time.Time { return now } })
	var keys []string
	for i := range 3 {
		in := testIntent("zstd")
		in.At, in.RunID = now.AddDate(0, 0, i-5), in.RunID+string(rune('a'+i))
		keys = append(keys, backUp(t, v, in, map[string][]byte{"s": content(1, 100)}).Key)
	}
	frende := Filter{Folder: "database-backups", Component: "frende"}
	opened, err := v.OpenLatest(t.Context(), frende)
	require.NoError(t, err)
	require.Equal(t, keys[2], opened.Manifest().Key)
	require.Empty(t, opened.PassedOver)

	// Nobody takes a backup in the future; a clock may be hours ahead.
	const future = "database-backups/2099/01/01/frende_db_backup_20990101_000000.base"
	put(t, replica, future+"/manifest", noise(1, 300))
	opened, err = v.OpenLatest(t.Context(), frende)
	require.NoError(t, err)
	require.Equal(t, keys[2], opened.Manifest().Key)
	require.Equal(t, []string{future}, opened.PassedOver, "and it is told")
	latest, err := v.Latest(t.Context(), frende)
	require.NoError(t, err)
	require.Equal(t, keys[2], latest.Key)

	// What is planted under a possible date is named, and so is the way out.
	put(t, replica, "database-backups/2024/01/20/frende_db_backup_20240120_020000.base/manifest", noise(2, 300))
	put(t, primary, "database-backups/2024/01/21/frende_db_backup_20240121_020000.base/manifest", noise(3, 300))
	_, err = v.OpenLatest(t.Context(), frende)
	requireFault(t, err, fault.IntegrityError, "frende_db_backup_20240121_020000.base")
	require.Contains(t, fault.HintOf(err), "--to backup:"+keys[2], "the damaged one between is not recommended")
	chosen, err := v.Open(t.Context(), keys[2])
	require.NoError(t, err)
	require.Equal(t, keys[2], chosen.Manifest().Key)

	// Where all are damaged nothing is recommended; where all are of the future, none is there.
	_, err = v.OpenLatest(t.Context(), Filter{Folder: "redis-backups", Component: "frende"})
	requireFault(t, err, fault.BackupUnknown, "redis-backups/frende")
	put(t, primary, "redis-backups/2099/01/01/frende_redis_backup_20990101_000000.rdb/manifest", noise(4, 300))
	_, err = v.OpenLatest(t.Context(), Filter{Folder: "redis-backups", Component: "frende"})
	requireFault(t, err, fault.BackupUnknown, "redis-backups/frende")
	require.Contains(t, fault.HintOf(err), "dated in the future")
	put(t, primary, "redis-backups/2024/01/01/frende_redis_backup_20240101_000000.rdb/manifest", noise(5, 300))
	_, err = v.OpenLatest(t.Context(), Filter{Folder: "redis-backups", Component: "frende"})
	requireFault(t, err, fault.IntegrityError, "frende_redis_backup_20240101_000000.rdb")
	require.Contains(t, fault.HintOf(err), "none of the backups before it opens")
}
