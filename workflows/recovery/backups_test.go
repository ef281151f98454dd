package recovery_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/files"
	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/activities/redis"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
)

func TestASystemIsRecoveredFromOlderBackupsOfSomeComponents(t *testing.T) {
	const (
		database = "database-backups/2024/01/14/frende_db_backup_20240114_020000.base"
		uploads  = "file-backups/2024/01/13/uploads_file_backup_20240113_020000.tree"
	)
	half := report.PassedOver{Backup: "database-backups/2024/01/15/frende_db_backup_20240115_020000.base", Why: "no store that answers has its chunk"}
	s := newStage(t)
	asked := map[string]string{}
	note := func(component, key string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		asked[component] = key
	}
	replace(s, "postgres.RestorePreflight", func(_ context.Context, in postgres.RestorePreflightInput) (postgres.RestorePreflightResult, error) {
		note("database/"+in.Component, in.Key)
		return postgres.RestorePreflightResult{Key: in.Key, PassedOver: []string{"database-backups/2099/01/01/frende_db_backup_20990101_000000.base"}, Incomplete: []report.PassedOver{half}, Span: postgres.Span{Hole: "segment 5 is in no store"}}, nil
	})
	replace(s, "redis.RestorePreflight", func(_ context.Context, in redis.RestorePreflightInput) (redis.RestorePreflightResult, error) {
		note("cache/"+in.Cache.Name, in.Key)
		return redis.RestorePreflightResult{Key: "redis-backups/x"}, nil
	})
	replace(s, "files.RestorePreflight", func(_ context.Context, in files.RestorePreflightInput) (files.RestorePreflightResult, error) {
		note(in.Folder+"/"+in.Set.Name, in.Key)
		return files.RestorePreflightResult{Key: "file-backups/x"}, nil
	})
	in := approved()
	in.To, in.Backups = "backup:"+database, []string{uploads}
	_, err := s.recover(in)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"database/frende": database, "cache/sessions": "", "file-backups/uploads": uploads, "config-backups/frende": ""}, asked)
	require.Contains(t, s.filedStep("database/frende/preflight").Detail, "frende_db_backup_20990101_000000.base was passed over: it is dated in the future")
	require.Contains(t, s.filedStep("database/frende/preflight").Detail, "frende_db_backup_20240115_020000.base was passed over: no store that answers has its chunk")
	require.Contains(t, s.filedStep("database/frende/preflight").Detail, " and no further: segment 5 is in no store")
	for _, point := range s.filed[0].Points {
		if point.Component == "database/frende" {
			require.Equal(t, half, point.PassedOver[1])
		} else {
			require.Empty(t, point.PassedOver)
		}
	}
}

func TestABackupOfWhatIsNotRecoveredIsRefused(t *testing.T) {
	s := newStage(t)
	in := approved()
	in.Backups = []string{"redis-backups/2024/01/14/other_redis_backup_20240114_020000.rdb"}
	_, err := s.recover(in)
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	require.ErrorContains(t, err, "it is a backup of cache/other")
	require.Zero(t, s.calls("postgres.RestorePreflight"))
}
