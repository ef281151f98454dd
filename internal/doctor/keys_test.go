package doctor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/system"
)

func TestAKeyThatOthersMayReadIsClosedByFix(t *testing.T) {
	file := shared.lab.Path("home", "key")
	require.NoError(t, os.Chmod(file, 0o644))
	t.Cleanup(func() { require.NoError(t, os.Chmod(file, 0o600)) })
	x := doctor.New(shared.config(t, nil))
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Keys)}
	id := "keys/" + string(shared.ref("key")) + "/permissions"
	require.Equal(t, []string{id}, found.ids(doctor.Problem))
	f := found.is(t, id, doctor.Problem, "its mode is 0644", "chmod 640 "+file)
	require.Equal(t, f.Mend, f.Fix)

	x.Fix(t.Context(), &found.Report)
	require.Equal(t, doctor.OK, found.found(t, id).Status)
	require.Equal(t, "chmod 640 "+file, found.found(t, id).Fixed)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm(), "the server's own account still archives with it")
	require.True(t, found.Healthy())
}

func TestAWrongKeyIsToldAtTheKeyAndNotAtEveryBackup(t *testing.T) {
	t.Setenv("WRONG", strings.Repeat("00", 32))
	found := shared.examine(t, func(s *system.System) { s.Keys.Encryption = []system.SecretRef{"env:WRONG"} }, doctor.Keys, doctor.Backups, doctor.Disk)
	require.Equal(t, doctor.OK, found.found(t, "keys/env:WRONG/round trip").Status)
	f := found.is(t, "keys/env:WRONG/opens newest", doctor.Problem, "the key given is not the one it was sealed with", "find the key of that time")
	require.Contains(t, f.What, "database-backups/")
	require.Equal(t, "keys/env:WRONG/opens newest", found.found(t, "backups/files/uploads/manifest").Because)
	require.Equal(t, "keys/env:WRONG/opens newest", found.found(t, "disk/files/uploads/room").Because)

	found = shared.examine(t, func(s *system.System) { s.Keys.Encryption = append(s.Keys.Encryption, "env:WRONG") }, doctor.Keys, doctor.Backups)
	require.Equal(t, []string{"keys/env:WRONG/opens newest"}, found.ids(doctor.Problem), "the other keys open everything")
}

func TestAKeyThatIsMissingOrTooShortIsNamed(t *testing.T) {
	t.Setenv("SHORT", "hunter2")
	found := shared.examine(t, func(s *system.System) { s.Keys.Encryption = []system.SecretRef{"env:NOT_SET", "env:SHORT"} }, doctor.Keys, doctor.Stores)
	found.is(t, "keys/env:NOT_SET/present", doctor.Problem, "the environment variable is not set", "set NOT_SET")
	require.Equal(t, "keys/env:NOT_SET/present", found.found(t, "keys/env:NOT_SET/round trip").Because)
	f := found.is(t, "keys/env:SHORT/round trip", doctor.Problem, "has 7 bytes", "openssl rand -hex 32")
	require.NotContains(t, f.What, "hunter2")
	require.Equal(t, doctor.OK, found.found(t, "stores/near/put").Status, "stores are examined without keys")
}

func TestBackupsThatAreOldOrMissingAreTold(t *testing.T) {
	c := shared.config(t, func(s *system.System) {
		s.Files = append(s.Files, system.FileSet{Name: "letters", Root: shared.lab.Path("uploads"), RPO: system.Duration(time.Hour)})
		s.Stores[0].Replica = ""
	})
	c.Now = func() time.Time { return time.Now().Add(72 * time.Hour) }
	x := doctor.New(c)
	defer x.Close()
	found := examined{x.Run(t.Context(), doctor.Backups, doctor.Configuration)}
	found.is(t, "backups/files/letters/newest", doctor.Problem, "there is no backup", "lifeboat backup files letters")
	found.is(t, "backups/configuration/settings/age", doctor.Problem, "the newest is 3 days old, its recovery point objective is 1h", "lifeboat backup configuration settings")
	found.is(t, "backups/database/orders/age", doctor.Warning, "3 days old", "lifeboat backup database orders")
	require.Equal(t, "proven L1", found.found(t, "backups/database/orders/proof").What)
	found.is(t, "configuration/shop/replica", doctor.Warning, "store near has no replica", "add a store in another region")
}

func TestBackupsAreFoundInTheReplicaWhenThePrimaryIsGone(t *testing.T) {
	port := closedPort(t)
	found := shared.examine(t, func(s *system.System) { s.Stores[0].Endpoint = "http://127.0.0.1:" + port }, doctor.Backups, doctor.Disk)
	require.Equal(t, doctor.OK, found.found(t, "backups/database/orders/manifest").Status)
	require.Equal(t, doctor.OK, found.found(t, "disk/shop/room").Status)
}

func TestAPlanThatNobodyLooksAfterIsTold(t *testing.T) {
	found := shared.examine(t, func(s *system.System) {
		s.Plan.NextReview = system.NewDate(2024, 2, 1)
		s.Contacts, s.Schedules, s.Backup.Enabled = system.Contacts{}, nil, false
		s.Keys.Encryption = s.Keys.Encryption[:1]
		s.Stores[1].Region = s.Stores[0].Region
	}, doctor.Configuration)
	require.Empty(t, found.Of(doctor.Problem))
	found.is(t, "configuration/shop/review", doctor.Warning, "overdue since 2024-02-01", "plan.next_review in lifeboat.yaml")
	found.is(t, "configuration/shop/contacts", doctor.Warning, "contacts.primary and contacts.escalation", "role and email")
	found.is(t, "configuration/shop/enabled", doctor.Warning, "switched off", "backup.enabled: true")
	found.is(t, "configuration/shop/second key", doctor.Warning, "one key alone", "keys.encryption")
	found.is(t, "configuration/shop/replica", doctor.Warning, "in the same region, us-east-1", "another region")
	found.is(t, "configuration/cache/sessions/schedule", doctor.Warning, "no schedule backs it up", "{name: cache-sessions, workflow: BackupCache, of: sessions, every: 1h}")

	found = shared.examine(t, func(s *system.System) { s.Schedules[0].Every = system.Duration(2 * time.Hour) }, doctor.Configuration)
	require.Equal(t, []string{"configuration/cache/sessions/schedule", "configuration/configuration/settings/schedule"}, found.ids(doctor.Warning))
}
