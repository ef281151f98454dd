package system_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// good is a small valid configuration; bad ones are made from it.
const good = `system: shop
stores:
  - name: primary
    bucket: shop-backups
    region: eu-central-1
    replica: second
  - name: second
    bucket: shop-second
    region: eu-west-1
keys:
  encryption: [env:KEY]
databases:
  - name: orders
    connection: env:DSN
    data_dir: data/orders
    service: postgres
caches:
  - name: sessions
    address: 127.0.0.1:6379
    data_dir: /srv/shop/redis
    service: redis
files:
  - name: uploads
    root: /srv/shop/uploads
configurations:
  - name: etc
    root: /srv/shop/etc
services:
  - name: postgres
    role: server
  - name: redis
    role: server
  - name: web
    kind: command
    start: [bin/web, start]
    stop: [bin/web, stop]
    status: [bin/web, status]
migrations:
  - name: orders
    database: orders
    command: [./migrate]
checks:
  - name: web
    kind: http
    url: http://127.0.0.1:8000/
schedules:
  - name: nightly
    workflow: BackupDatabase
    of: orders
    cron: 0 2 * * *
targets:
  - name: box
    kind: sandbox
    root: /srv/box
    port_base: 25432
`

var secrets = environment("KEY", "k", "DSN", "d")

func findings(t *testing.T, text string, env system.Env) system.Findings {
	t.Helper()
	s, err := system.Parse("/etc/shop/lifeboat.yaml", []byte(text), env)
	if err == nil {
		return nil
	}
	require.Nil(t, s)
	require.True(t, fault.Has(err, fault.ConfigInvalid))
	found, ok := errors.AsType[system.Findings](err)
	require.True(t, ok)
	return found
}

func TestRelativePathsStartFromTheFile(t *testing.T) {
	s, err := system.Parse("/etc/shop/lifeboat.yaml", []byte(good), secrets)
	require.NoError(t, err)
	require.Equal(t, "/etc/shop/data/orders", s.Databases[0].DataDir)
	require.Equal(t, "/etc/shop/bin/web", s.Services[2].Start[0])
	require.Equal(t, "/etc/shop", s.Migrations[0].Dir)
	require.Equal(t, "/etc/shop/migrate", s.Migrations[0].Command[0])
}

func TestWorkerTakesWALWhereItsUnitMakesAFolder(t *testing.T) {
	s, err := system.Parse("/etc/shop/lifeboat.yaml", []byte(good), secrets)
	require.NoError(t, err)
	require.Equal(t, "/run/lifeboat/wal-shop-orders.sock", s.WALSocket(s.Databases[0]))
	s.Databases[0].Name = strings.Repeat("x", 63)
	long := s.WALSocket(s.Databases[0])
	s.Databases[0].Name = strings.Repeat("x", 62) + "y"
	require.NotEqual(t, long, s.WALSocket(s.Databases[0]))
	require.LessOrEqual(t, len(long), 96)
	s.Databases[0].Socket = "/srv/wal.sock"
	require.Equal(t, "/srv/wal.sock", s.WALSocket(s.Databases[0]))
}

func TestDefaults(t *testing.T) {
	s, err := system.Parse("lifeboat.yaml", []byte(good), secrets)
	require.NoError(t, err)
	require.True(t, s.Backup.Enabled)
	require.Equal(t, system.CompressionZstd, s.Backup.Compression)
	require.Equal(t, "orders", s.Databases[0].Cluster)
	require.Equal(t, "orders", s.Databases[0].Database)
	require.Equal(t, 15*time.Minute, s.Databases[0].RTO.Std())
	require.Equal(t, time.Hour, s.Databases[0].RPO.Std())
	require.Equal(t, 24*time.Hour, s.Files[0].RPO.Std())
	require.Equal(t, "web", s.Services[2].Name)
	require.Equal(t, system.RoleApplication, s.Services[2].Role)
	require.Equal(t, system.ServiceSystemd, s.Services[0].Kind)
	require.Equal(t, "postgres", s.Services[0].Unit)
	require.Equal(t, 200, s.Checks[0].Expect)
	production, err := s.Target("")
	require.NoError(t, err)
	require.Equal(t, system.Target{Name: "production", Kind: system.TargetProduction, Undo: system.Duration(7 * 24 * time.Hour)}, production)
	require.EqualValues(t, 192<<20, s.Limits.Memory)
	require.Positive(t, s.Limits.Parallel)
}

// mistake is a change of good that makes it bad, and what is said of it.
type mistake struct{ name, from, to, want, hint string }

func mistakes() []mistake {
	return []mistake{
		{"unknown key", "    data_dir: data/orders", "    data_dri: data/orders", `15: databases[0].data_dri: unknown key "data_dri"`, "did you mean data_dir?"},
		{"unknown top key", "system: shop", "system: shop\ndatabase: []", `2: database: unknown key "database"`, "did you mean databases?"},
		{"wrong type", "port_base: 25432", "port_base: many", "targets[0].port_base: must be a whole number, not text", "write digits alone"},
		{"number for text", "system: shop", "system: 12", "1: system: must be text, not a number", `put it in quotes: "12"`},
		{"list for keys", "keys:\n  encryption: [env:KEY]", "keys: [env:KEY]", "keys: must be keys with values, not a list", "write keys"},
		{"scalar for list", "encryption: [env:KEY]", "encryption: env:KEY", "keys.encryption: must be a list, not text", "write a list"},
		{"key twice", "system: shop", "system: shop\nsystem: shop", `2: system: key "system" stands twice`, "keep one"},
		{"second document", "system: shop\n", "---\nsystem: shop\n---\n", "a second document follows", "keep one document"},
		{"bad duration", "of: orders\n    cron: 0 2 * * *", "of: orders\n    every: 5 minutes", `schedules[0].every: "5 minutes" is not a duration`, "write 45s, 30m, 1h30m or 30d"},
		{"negative duration", "of: orders\n    cron: 0 2 * * *", "of: orders\n    every: -5m", "schedules[0].every: -5m is negative", "without the minus"},
		{"socket that a recovery would replace", "    data_dir: data/orders\n", "    data_dir: data/orders\n    socket: data/orders/wal.sock\n", "databases[0].socket: /etc/shop/data/orders/wal.sock lies in data_dir", "keep it outside"},
		{"long socket", "    data_dir: data/orders\n", "    data_dir: data/orders\n    socket: /run/" + strings.Repeat("x", 92) + "\n", "databases[0].socket: has 97 bytes; a socket's path has at most 96", "/run/lifeboat/wal.sock"},
		{"missing key", "    data_dir: data/orders\n", "", "databases[0].data_dir: data_dir is required", "add the key"},
		{"missing service", "service: postgres", "service: postgras", `databases[0].service: there is no service named "postgras"`, "did you mean postgres?"},
		{"application as server", "service: postgres", "service: web", `service "web" has the role application`, "role: server"},
		{"server used twice", "service: redis", "service: postgres", `service "postgres" is the server of database orders already`, "its own service"},
		{"missing replica", "replica: second", "replica: third", `stores[0].replica: there is no store named "third"`, "known are: primary, second"},
		{"missing database", "database: orders", "database: order", `migrations[0].database: there is no database named "order"`, "did you mean orders?"},
		{"replica circle", "    bucket: shop-second", "    replica: primary\n    bucket: shop-second", "replicas form a circle: primary → second → primary", "must not lead back"},
		{"no primary", "replica: second\n", "replica: primary\n", "replicas form a circle: primary → primary", "must not lead back"},
		{"one place twice", "bucket: shop-second", "bucket: shop-backups", "stores[1].bucket: lies in the same place as stores[0]", "its own bucket"},
		{"half of a credential", "replica: second", "access_key: env:KEY", "access_key and secret_key belong together", "give both"},
		{"duplicate name", "name: second", "name: primary", `"primary" is the name of stores[0] already`, "its own name"},
		{"bad name", "name: uploads", "name: Up Loads", `"Up Loads" can't be a name`, "lower-case"},
		{"cron range", "cron: 0 2 * * *", "cron: 0 24 * * *", `hour "24" is not between 0 and 23`, "minute hour"},
		{"Feb 30", "cron: 0 2 * * *", "cron: 0 2 30 2 *", `"0 2 30 2 *" never comes: no such month has day 30`, ""},
		{"cron words", "cron: 0 2 * * *", "cron: '@daily'", `"@daily" has 1 fields instead of 5`, ""},
		{"cron and every", "cron: 0 2 * * *", "cron: 0 2 * * *\n    every: 1h", "cron and every exclude each other", "keep one"},
		{"neither", "    cron: 0 2 * * *\n", "", "schedules[0]: the schedule has none of cron, every and when", "when: first saturday of quarter at 06:00"},
		{"both days in cron", "cron: 0 2 * * *", "cron: 0 6 1-7 1,4,7,10 6", "schedules[0].cron: day of month and day of week are both narrowed: cron would start on either", "when: first saturday of quarter at 06:00"},
		{"cron and when", "cron: 0 2 * * *", "cron: 0 2 * * *\n    when: first sunday of month at 04:00", "schedules[0].cron: when and cron exclude each other", "keep one"},
		{"fifth weekday", "cron: 0 2 * * *", "when: fifth sunday of month at 04:00", `schedules[0].when: "fifth" is not first, second, third or fourth`, "first saturday of quarter at 06:00"},
		{"no weekday", "cron: 0 2 * * *", "when: first day of month at 04:00", `"day" is no weekday: sunday, monday`, ""},
		{"no period", "cron: 0 2 * * *", "when: first sunday of week at 04:00", `"week" is not month, quarter or year`, ""},
		{"no time of day", "cron: 0 2 * * *", "when: first sunday of month at 24:00", `"24:00" is not a time of day`, ""},
		{"when in other words", "cron: 0 2 * * *", "when: every quarter", `"every quarter" is not of the form "first saturday of quarter at 06:00"`, ""},
		{"part of a second", "cron: 0 2 * * *", "every: 90500ms", "schedules[0].every: 1m30.5s has a part of a second", "whole seconds"},
		{"if_changed of another kind", "cron: 0 2 * * *", "cron: 0 2 * * *\n    if_changed: true", "schedules[0].if_changed: if_changed means nothing for BackupDatabase", "only a cache"},
		{"level of another workflow", "cron: 0 2 * * *", "cron: 0 2 * * *\n    level: 2", "schedules[0].level: level means nothing for BackupDatabase", "remove it"},
		{"chance of another workflow", "cron: 0 2 * * *", "cron: 0 2 * * *\n    random: true", "schedules[0].random: random means nothing for BackupDatabase", "remove it"},
		{"level of a drill", "workflow: BackupDatabase", "workflow: VerifyBackup\n    level: 4", "schedules[0].level: there is no level 4 of VerifyBackup", "DrillSystem"},
		{"level below all", "workflow: BackupDatabase", "workflow: VerifyBackup\n    level: -1", "schedules[0].level: there is no level -1 of VerifyBackup", "give 0, 1, 2 or 3"},
		{"chance among all", "workflow: BackupDatabase", "workflow: VerifyBackup\n    level: 0\n    random: true", "schedules[0].random: random means nothing at level 0", "every backup"},
		{"way to compare", "    data_dir: data/orders\n", "    data_dir: data/orders\n    compare: some\n", "databases[0].compare: ", "full"},
		{"standby without an address", "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: {lag: 30s}\n", "16: databases[0].standby.connection: connection is required", "add the key"},
		{"standby that is the primary", "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: {connection: env:DSN}\n", "16: databases[0].standby.connection: env:DSN is the connection of the primary", "leads to the standby"},
		{"standby in words", "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: env:KEY\n", "16: databases[0].standby: must be keys with values, not text", "write keys"},
		{"standby that is hours behind", "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: {connection: env:KEY, lag: 2h}\n", "16: databases[0].standby.lag: 2h is longer than 1h", "the default is 1m"},
		{"unset variable of a standby", "    data_dir: data/orders\n", "    data_dir: data/orders\n    standby: {connection: env:NOWHERE}\n", "16: databases[0].standby.connection: environment variable NOWHERE is not set", "set it"},
		{"short timeout", "cron: 0 2 * * *", "cron: 0 2 * * *\n    timeout: 10s", "schedules[0].timeout: 10s would end runs before they are done", "leave it out"},
		{"long catch-up", "cron: 0 2 * * *", "cron: 0 2 * * *\n    catchup: 365d", "schedules[0].catchup: 365d is not between 1m and 7d", "leave it out"},
		{"of for the whole", "workflow: BackupDatabase", "workflow: DrillSystem", "schedules[0].of: DrillSystem concerns the whole system", "remove it"},
		{"too often", "cron: 0 2 * * *", "every: 1s", "1s is too often", "at least 1m"},
		{"unknown workflow", "BackupDatabase", "BackupDatabases", `there is no workflow named "BackupDatabases"`, "did you mean BackupDatabase?"},
		{"scheduled recovery", "BackupDatabase", "RecoverDatabase", "a recovery is never started by a schedule", "lifeboat recover"},
		{"of another kind", "of: orders", "of: uploads", `there is no database named "uploads"`, ""},
		{"paths equal", "root: /srv/shop/etc", "root: /srv/shop/uploads", "/srv/shop/uploads overlaps files[0].root", "its own directory"},
		{"paths nested", "data_dir: data/orders", "data_dir: /srv/shop/uploads/pg", "files[0].root: /srv/shop/uploads overlaps databases[0].data_dir", "its own directory"},
		{"sandbox over production", "root: /srv/box", "root: /srv", "/srv is too near the root", "further down"},
		{"sandbox in production", "root: /srv/box", "root: /srv/shop/uploads/box", "targets[0].root: /srv/shop/uploads/box overlaps", "its own directory"},
		{"sandbox on a used port", "port_base: 25432", "port_base: 6378", "ports 6378 to 6379 hold the one of cache sessions", "free range"},
		{"sandbox without ports", "    port_base: 25432\n", "", "0 leaves no room for the ports of 2 servers", "free range"},
		{"unit in a sandbox", "port_base: 25432", "port_base: 25432\n    services: [{name: web, kind: systemd}]", "targets[0].services[0].kind: a sandbox's services are of kind command: a unit is production's", "for the sandbox"},
		{"production's commands in a sandbox", "port_base: 25432", "port_base: 25432\n    services: [{name: web, start: [bin/web, start], stop: [bin/box, stop], status: [bin/box, status]}]", "by the commands of production's service web", "commands of its own"},
		{"production asked by a drill", "port_base: 25432", "port_base: 25432\n    checks: [{name: web, kind: http, url: 'http://127.0.0.1:8000/'}]", "it asks where production's check web asks", "the sandbox's own address"},
		{"comparison unknown", "port_base: 25432", "port_base: 25432\n    compare: half", `targets[0].compare: "half" is not allowed: full, none`, "known are"},
		{"replication unknown", "replica: second", "replica: second\n    replication: magic", `stores[0].replication: "magic" is not allowed`, "known are"},
		{"replication of nothing", "bucket: shop-second", "bucket: shop-second\n    replication: native", "there is no replica to bring anything to", "name the replica"},
		{"target of no kind", "kind: sandbox", "kind: staging", `"staging" is not allowed: production, sandbox`, "known are"},
		{"bad address", "127.0.0.1:6379", "127.0.0.1", `"127.0.0.1" is no address`, "host:port"},
		{"bad URL", "url: http://127.0.0.1:8000/", "url: localhost/x", "is no http or https address", "write it whole"},
		{"credentials in a URL", "http://127", "http://u:p@127", "holds credentials", "out of the address"},
		{"key of another kind", "url: http://127.0.0.1:8000/", "url: http://127.0.0.1:8000/\n    sql: SELECT 1", "checks[0].sql: sql means nothing for kind http", "remove it"},
		{"command without stop", "    stop: [bin/web, stop]\n", "", "services[2].stop: stop is required", "as a list"},
		{"no key", "keys:\n  encryption: [env:KEY]\n", "", "no encryption key is configured", "env:BACKUP_ENCRYPTION_KEY"},
		{"secret in the file", "env:DSN", "postgres://u:hunter2@db/x", "databases[0].connection: is not a reference to a secret", "env:NAME"},
		{"unset variable", "env:DSN", "env:NOWHERE", "environment variable NOWHERE is not set", "set it"},
		{"missing file", "env:DSN", "file:/nowhere/dsn", "secret file /nowhere/dsn: no such file", "create the file"},
		{"RTO against the whole", "name: uploads", "name: uploads\n    rto: 2h", "2h is longer than the 1h of the whole system", "objectives.rto.system"},
		{"RTO against critical", "name: uploads", "name: uploads\n    critical: true\n    rto: 45m", "45m is longer than the 30m of all critical", "objectives.rto.critical"},
		{"bad pattern", "root: /srv/shop/uploads", "root: /srv/shop/uploads\n    include: ['[']", `files[0].include[0]: "[" is no pattern`, ""},
		{"no YAML", "region: eu-central-1", "region: eu: 1", "5:15: mapping values are not allowed in this context", "indent with spaces"},
	}
}

func TestEachMistakeIsNamedWithItsPlaceAndHint(t *testing.T) {
	require.Empty(t, findings(t, good, secrets))
	for _, c := range mistakes() {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			require.NotEqual(t, good, text, "the case changes nothing")
			var all []string
			for _, f := range findings(t, text, secrets) {
				require.Equal(t, "/etc/shop/lifeboat.yaml", f.File)
				require.Positive(t, f.Line, f.String())
				line := strings.TrimPrefix(f.String(), "/etc/shop/")
				place, rest, _ := strings.Cut(strings.TrimPrefix(line, "lifeboat.yaml:"), ":")
				_, rest, _ = strings.Cut(rest, ":")
				all = append(all, line+"\n"+place+":"+rest+" | "+f.Hint)
			}
			joined := strings.Join(all, "\n")
			require.Contains(t, joined, c.want)
			require.Contains(t, joined, c.hint)
			require.NotContains(t, joined, "hunter2")
		})
	}
}

func TestTextThatIsNoYAMLIsOneFindingWhereItBegins(t *testing.T) {
	for name, c := range map[string]struct{ bucket, want, hint string }{
		"list":              {"[a", "4:13: [ is not closed before line 10, where this is noticed: mapping values", "close it"},
		"keys":              {"{a: é, b: [1, 2]", "4:13: { is not closed before line 5, where this is noticed: did not find", "close it"},
		"quote":             {`"a # b`, "4:13: the text that begins here has no closing quote", "close it with the quote"},
		"bracket in a text": {"a[0: b: c", "4:16: mapping values are not allowed in this context", "indent with spaces"},
		"in a comment":      {"a # [\n    c: d: e", "5:9: mapping values are not allowed in this context", "indent with spaces"},
	} {
		found := findings(t, strings.Replace(good, "bucket: shop-backups", "bucket: "+c.bucket, 1), secrets)
		require.Len(t, found, 1, name)
		require.Contains(t, found[0].String(), "/etc/shop/lifeboat.yaml:"+c.want, name)
		require.Contains(t, found[0].Hint, c.hint, name)
	}
}

func TestAllFindingsAreReportedAtOnceInTheOrderOfTheFile(t *testing.T) {
	text := strings.NewReplacer("system: shop", "system: 12", "data_dir: data/orders", "data_dri: x",
		"cron: 0 2 * * *", "cron: 61 2 * * *", "env:DSN", "env:NOWHERE").Replace(good)
	found := findings(t, text, secrets)
	var paths []string
	for i, f := range found {
		paths = append(paths, f.Path)
		require.True(t, i == 0 || found[i-1].Line <= f.Line)
	}
	require.Equal(t, []string{"system", "databases[0].data_dir", "databases[0].connection", "databases[0].data_dri", "schedules[0].cron"}, paths)
}

func TestEmptyFileSaysWhatIsMissing(t *testing.T) {
	var text []string
	for _, f := range findings(t, "", secrets) {
		text = append(text, f.String())
	}
	joined := strings.Join(text, "\n")
	require.Contains(t, joined, "system is required")
	require.Contains(t, joined, "no store is configured")
	require.Contains(t, joined, "nothing is protected")
}

func TestSecretFileOpenToAllIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(path, []byte("postgres://\n"), 0o600))
	text := strings.Replace(good, "env:DSN", "file:"+path, 1)
	require.Empty(t, findings(t, text, secrets))

	require.NoError(t, os.Chmod(path, 0o644))
	found := findings(t, text, secrets)
	require.Len(t, found, 1)
	require.Contains(t, found[0].Message, "open to every user of this host (mode 0644)")
	require.Equal(t, "run: chmod o= "+path, found[0].Hint)
}

func TestBadVariableIsReportedAsComingFromTheEnvironment(t *testing.T) {
	env := environment("KEY", "k", "DSN", "d", "DB_BACKUP_ENABLED", "perhaps", "DB_BACKUP_COMPRESSION", "brotli")
	found := findings(t, good, env)
	require.Len(t, found, 2)
	require.Equal(t, "environment: DB_BACKUP_ENABLED: is neither true nor false", found[0].String())
	require.Equal(t, "environment: DB_BACKUP_COMPRESSION: is no compression", found[1].String())
}

func TestEnvironmentAloneCanConfigureStoreAndKey(t *testing.T) {
	text := good[:strings.Index(good, "stores:")] + good[strings.Index(good, "databases:"):]
	env := environment("DSN", "d", "BACKUP_ENCRYPTION_KEY", "k", "DB_BACKUP_S3_BUCKET", "from-env", "DB_BACKUP_S3_REGION", "us-east-1")
	s, err := system.Parse("lifeboat.yaml", []byte(text), env)
	require.NoError(t, err)
	require.Equal(t, "from-env", s.Stores[0].Bucket)
	require.Equal(t, []system.SecretRef{"env:BACKUP_ENCRYPTION_KEY"}, s.Keys.Encryption)
}

func TestEncryptionKeyOfTheEnvironmentComesFirst(t *testing.T) {
	text := strings.Replace(good, "[env:KEY]", "[env:KEY, env:BACKUP_ENCRYPTION_KEY]", 1)
	s, err := system.Parse("lifeboat.yaml", []byte(text), environment("KEY", "k", "DSN", "d", "BACKUP_ENCRYPTION_KEY", "b"))
	require.NoError(t, err)
	require.Equal(t, []system.SecretRef{"env:BACKUP_ENCRYPTION_KEY", "env:KEY"}, s.Keys.Encryption)
}

func TestStorageLoadsWhileTheRestIsBroken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	broken := strings.NewReplacer("env:DSN", "env:NOWHERE", "0 2 * * *", "half an edit", "kind: http", "kind: htp").Replace(good)
	require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
	_, err := system.Load(path, secrets)
	require.Error(t, err)
	s, err := system.LoadStorage(path, secrets)
	require.NoError(t, err)
	require.Equal(t, "shop-backups", s.Stores[0].Bucket)
	require.Equal(t, "orders", s.Databases[0].Cluster)

	for name, text := range map[string]string{
		"store":  strings.Replace(broken, "region: eu-central-1", "regiom: x", 1),
		"key":    strings.Replace(broken, "env:KEY", "env:NOWHERE", 1),
		"syntax": strings.Replace(broken, "system: shop", "system: [", 1),
		"empty":  "",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err = system.LoadStorage(path, secrets)
		require.True(t, fault.Has(err, fault.ConfigInvalid), name)
	}
}

func TestInspectReadsWhatIsBrokenAsFarAsItGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	broken := strings.NewReplacer("env:DSN", "env:NOWHERE", "0 2 * * *", "half an edit").Replace(good)
	require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
	s, findings, err := system.Inspect(path, secrets)
	require.NoError(t, err)
	require.Len(t, findings, 1, "a secret that is missing is no fault of the file: %v", findings)
	require.Equal(t, "schedules[0].cron", findings[0].Path)
	require.Equal(t, "orders", s.Databases[0].Name)
	require.Equal(t, system.Duration(time.Hour), s.Databases[0].RPO, "it is defaulted all the same")

	refs := map[string]system.SecretRef{}
	for at, ref := range s.Secrets() {
		refs[at] = ref
	}
	require.Equal(t, map[string]system.SecretRef{"keys.encryption[0]": "env:KEY", "databases[0].connection": "env:NOWHERE"}, refs)

	require.NoError(t, os.WriteFile(path, []byte("system: ["), 0o600))
	_, findings, err = system.Inspect(path, secrets)
	require.NoError(t, err)
	require.NotEmpty(t, findings)
	_, _, err = system.Inspect(path+".nowhere", secrets)
	require.True(t, fault.Has(err, fault.ConfigInvalid), "%v", err)
}

func TestFindLooksInItsPlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	path, err := system.Find("asked.yaml", environment("LIFEBOAT_CONFIG", "env.yaml"))
	require.NoError(t, err)
	require.Equal(t, "asked.yaml", path)
	path, err = system.Find("", environment("LIFEBOAT_CONFIG", "env.yaml"))
	require.NoError(t, err)
	require.Equal(t, "env.yaml", path)
	require.NoError(t, os.WriteFile("lifeboat.yaml", []byte(good), 0o600))
	path, err = system.Find("", environment())
	require.NoError(t, err)
	require.Equal(t, "lifeboat.yaml", path)
	_, err = system.Load(t.TempDir(), environment())
	require.ErrorContains(t, err, "configuration is not valid: it is a directory")
	require.Regexp(t, `^name the file: --config /.+/lifeboat.yaml$`, fault.HintOf(err))
	_, err = system.Load("nowhere.yaml", environment())
	require.ErrorContains(t, err, "read configuration nowhere.yaml: configuration is not valid: no such file or directory")
}

func TestSystemSurvivesATemporalPayload(t *testing.T) {
	s, err := system.Load(example, environment("BACKUP_ENCRYPTION_KEY", "k", "FRENDE_DATABASE_URL", "d"))
	require.NoError(t, err)
	payload, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(payload), `"rto":"15m"`)
	require.Contains(t, string(payload), `"memory":"192MiB"`)
	require.Contains(t, string(payload), `"last_review":"2024-01-01"`)
	var back system.System
	require.NoError(t, json.Unmarshal(payload, &back))
	require.Equal(t, *s, back)
	require.Empty(t, back.Validate())
}

func TestAloneLeavesOneStoreAndNoReplica(t *testing.T) {
	s, err := system.Parse("/etc/shop/lifeboat.yaml", []byte(good), secrets)
	require.NoError(t, err)
	left, err := s.Alone("second")
	require.NoError(t, err)
	primary, err := left.Primary()
	require.NoError(t, err)
	require.Equal(t, "shop-second", primary.Bucket)
	require.Empty(t, primary.Replica)
	require.Equal(t, "second", left.From)
	require.Len(t, s.Stores, 2, "the system itself is not changed")
	_, err = s.Alone("third")
	require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
}

func TestASandboxRunsItsOwnServicesAndChecks(t *testing.T) {
	text := strings.Replace(good, "port_base: 25432", "port_base: 25432\n    services: [{name: web, start: [bin/box, start], stop: [bin/box, stop], status: [bin/box, status]}]\n"+
		"    checks: [{name: journey, kind: command, command: [./journey]}]", 1)
	s, err := system.Parse("/etc/shop/lifeboat.yaml", []byte(text), secrets)
	require.NoError(t, err)
	at, target, err := s.ForTarget("box")
	require.NoError(t, err)
	require.Equal(t, system.CompareFull, target.Compare)
	require.Equal(t, []string{"/etc/shop/bin/box", "start"}, at.Services[0].Start)
	require.Equal(t, system.ServiceCommand, at.Services[0].Kind)
	require.Equal(t, system.RoleApplication, at.Services[0].Role)
	require.Equal(t, "journey", at.Checks[len(at.Checks)-1].Name)
	require.Empty(t, at.Migrations, "production's migrations are its own")
	for _, check := range at.Checks {
		require.NotContains(t, check.URL, ":8000", "production is not asked")
	}
}
