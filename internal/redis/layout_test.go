package redis_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestALayoutIsReadFromAConfigurationFileAndWhatItIncludes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "extra.conf"), "APPENDONLY yes\ndatabases 4\n")
	file := write(t, filepath.Join(dir, "redis.conf"), "# a comment\nappendonly no\n\tdir\t\"/var/lib/my redis\"\ninclude extra.conf\ndbfilename  'other.rdb'\nsave 900 1\n")
	layout, data, err := redis.ReadLayout(file)
	require.NoError(t, err)
	require.Equal(t, "/var/lib/my redis", data)
	require.Equal(t, redis.Layout{AppendOnly: true, DBFilename: "other.rdb", AppendDirname: "appendonlydir", AppendFilename: "appendonly.aof", Databases: 4}, layout)
}

func TestALayoutThatLeavesItsDirectoryIsRefused(t *testing.T) {
	_, _, err := redis.ReadLayout(write(t, filepath.Join(t.TempDir(), "redis.conf"), "dbfilename ../../etc/cron.d/x\n"))
	require.ErrorIs(t, err, fault.ServerSettings.Err())
}

func TestConfigurationFilesThatIncludeEachOtherAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redis.conf")
	_, _, err := redis.ReadLayout(write(t, file, "include redis.conf\n"))
	require.ErrorIs(t, err, fault.ServerSettings.Err())
}

func TestVersionsCompareByMajorAndMinor(t *testing.T) {
	require.True(t, redis.Older("6.2.14", "7.0.1"))
	require.True(t, redis.Older("7.0.15", "7.2.0"))
	require.False(t, redis.Older("7.0.1", "7.0.15"))
	require.False(t, redis.Older("7.10.0", "7.2.0"))
	require.False(t, redis.Older("8.0.0", "7.4.0"))
}
