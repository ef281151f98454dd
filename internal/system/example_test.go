package system_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

const example = "../../examples/frende/lifeboat.yaml"

func exampleSystem(t *testing.T, extra ...string) *system.System {
	t.Helper()
	env := append([]string{"BACKUP_ENCRYPTION_KEY", "a passphrase", "FRENDE_DATABASE_URL", "postgres://localhost/frende"}, extra...)
	s, err := system.Load(example, environment(env...))
	require.NoError(t, err)
	return s
}

func environment(pairs ...string) system.Env {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestExampleSaysTheSeed(t *testing.T) {
	s := exampleSystem(t)
	minutes := func(n int) system.Duration { return system.Duration(time.Duration(n) * time.Minute) }

	require.Equal(t, "frende", s.Name)
	require.Equal(t, "1.0", s.Plan.Version)
	require.Equal(t, "2024-01-01", s.Plan.LastReview.String())
	require.Equal(t, "2024-02-01", s.Plan.NextReview.String())
	require.Equal(t, minutes(30), s.Objectives.RTO.Critical)
	require.Equal(t, minutes(15), s.Objectives.RTO.Database)
	require.Equal(t, minutes(10), s.Objectives.RTO.Application)
	require.Equal(t, minutes(60), s.Objectives.RTO.System)
	require.Equal(t, minutes(60), s.Objectives.RPO.Database)
	require.Equal(t, minutes(24*60), s.Objectives.RPO.Files)
	require.Equal(t, minutes(60), s.Objectives.RPO.Configuration)
	require.Equal(t, system.CompressionGzip, s.Backup.Compression)
	require.Equal(t, "30d", s.Backup.Retention.String())

	primary, err := s.Primary()
	require.NoError(t, err)
	require.Equal(t, "frende-db-backups", primary.Bucket)
	require.Equal(t, "us-east-1", primary.Region)
	replica, ok := s.ReplicaOf(primary)
	require.True(t, ok)
	require.NotEqual(t, primary.Region, replica.Region)

	require.Equal(t, []string{"*.jpg", "*.png", "*.pdf"}, s.Files[0].Include)
	require.Equal(t, []string{"*.tmp", "*.log"}, s.Files[0].Exclude)
	require.Equal(t, []string{"alembic", "upgrade", "head"}, s.Migrations[0].Command)
	require.Equal(t, "0 2 * * *", s.Schedules[0].Cron)
	var units []string
	for _, v := range s.Applications() {
		units = append(units, v.Unit)
	}
	require.Equal(t, []string{"frende-backend", "frende-frontend"}, units)
	require.Len(t, s.Contacts.Primary, 3)
	require.Len(t, s.Contacts.Escalation, 2)
	require.Len(t, s.Contacts.External, 3)
}

func TestSeedsVariablesOverrideTheFile(t *testing.T) {
	s := exampleSystem(t, "DB_BACKUP_ENABLED", "false", "DB_BACKUP_S3_BUCKET", "other-bucket",
		"DB_BACKUP_S3_REGION", "us-west-2", "DB_BACKUP_COMPRESSION", "false")
	primary, err := s.Primary()
	require.NoError(t, err)
	require.Equal(t, "other-bucket", primary.Bucket)
	require.Equal(t, "us-west-2", primary.Region)
	require.False(t, s.Backup.Enabled)
	require.Equal(t, system.CompressionNone, s.Backup.Compression)
	require.Equal(t, []system.SecretRef{"env:BACKUP_ENCRYPTION_KEY"}, s.Keys.Encryption)

	require.Equal(t, system.CompressionZstd, exampleSystem(t, "DB_BACKUP_COMPRESSION", "true").Backup.Compression)
}

func TestSandboxSharesNothingWithProduction(t *testing.T) {
	s := exampleSystem(t)
	box, target, err := s.ForTarget("sandbox")
	require.NoError(t, err)
	require.Equal(t, system.TargetSandbox, target.Kind)

	require.Equal(t, "/srv/lifeboat/sandbox/var/lib/postgresql/15/main", box.Databases[0].DataDir)
	require.Equal(t, "/srv/lifeboat/sandbox/etc/postgresql/15/main", box.Databases[0].ConfigDir)
	require.Equal(t, "/usr/lib/postgresql/15/bin", box.Databases[0].BinDir)
	require.Equal(t, "127.0.0.1", box.Databases[0].Host)
	require.Equal(t, 25432, box.Databases[0].Port)
	require.Equal(t, "127.0.0.1:25433", box.Caches[0].Address)
	require.Equal(t, "/srv/lifeboat/sandbox/var/lib/redis", box.Caches[0].DataDir)
	require.Equal(t, "/srv/lifeboat/sandbox/var/lib/frende/uploads", box.Files[0].Root)
	require.Equal(t, "/srv/lifeboat/sandbox/etc/frende", box.Configurations[0].Root)
	require.Empty(t, box.Services)
	require.Empty(t, box.Migrations)
	require.Empty(t, box.Schedules)
	require.Len(t, box.Checks, 2)

	require.Equal(t, "/var/lib/postgresql/15/main", s.Databases[0].DataDir, "the configured system is left as it was")
	same, target, err := s.ForTarget("")
	require.NoError(t, err)
	require.Equal(t, "production", target.Name)
	require.Equal(t, *s, same)
	_, _, err = s.ForTarget("sandbux")
	require.ErrorContains(t, err, "find target sandbux")
}

func TestComponentsCarryIDAndObjectives(t *testing.T) {
	s := exampleSystem(t)
	var ids []string
	for _, c := range s.Components() {
		ids = append(ids, c.ID)
		require.Positive(t, c.RTO)
		require.Positive(t, c.RPO)
	}
	require.Equal(t, []string{
		"database/frende", "cache/sessions", "files/uploads",
		"configuration/frende", "configuration/postgresql", "configuration/redis",
	}, ids)

	only, err := s.Component(system.KindDatabase, "")
	require.NoError(t, err)
	require.True(t, only.Critical)
	_, err = s.Component(system.KindConfiguration, "")
	require.ErrorContains(t, err, "there are 3, so a name is needed")
}
