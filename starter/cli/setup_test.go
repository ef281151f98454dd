package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
)

// asks reads one text from the server.
func asks(t *testing.T, server *lab.Postgres, query string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.DSN)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&text))
	return text
}

func TestAServerIsSetUpWhenThatIsAskedFor(t *testing.T) {
	s := openShop(t)
	server := lab.StartPostgres(t, lab.PostgresOptions{Settings: map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}})
	hba := filepath.Join(server.DataDir, "pg_hba.conf")
	require.NoError(t, os.WriteFile(hba, []byte("host all all 127.0.0.1/32 scram-sha-256\n"), 0o600))
	s.protects(t, server)
	require.NoError(t, server.Stop(t.Context()))
	require.NoError(t, server.Start(t.Context()))

	look := func(args ...string) (int, map[string]postgres.Setting, setUp, string) {
		code, stdout, stderr := s.run(t, append([]string{"database", "setup", "orders", "--json"}, args...)...)
		var told setUp
		if stdout != "" {
			require.NoError(t, json.Unmarshal([]byte(stdout), &told), stdout)
		}
		settings := map[string]postgres.Setting{}
		for _, one := range told.Settings {
			settings[one.Name] = one
		}
		return code, settings, told, stderr
	}
	code, settings, told, stderr := look()
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "5 settings to be changed")
	require.Contains(t, stderr, "lifeboat database setup orders --apply")
	require.False(t, told.Door.Open)
	require.Contains(t, told.Door.Why, "no WAL sender is free")
	require.True(t, told.Checksums)
	for name, after := range map[string]string{"wal_level": "replica", "archive_mode": "on", "max_wal_senders": "10", "archive_timeout": "60"} {
		require.Equal(t, after, settings[name].After, name)
		require.Equal(t, postgres.SettingChange, settings[name].State, name)
	}
	require.True(t, strings.HasSuffix(settings["archive_command"].After, " --config "+s.config+" wal-push %p"), settings["archive_command"].After)
	require.Equal(t, "minimal", asks(t, server, "SELECT setting FROM pg_file_settings WHERE name = 'wal_level' ORDER BY seqno DESC LIMIT 1"), "a look changes nothing")

	code, _, told, stderr = look("--apply")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, []string{"wal_level", "max_wal_senders", "archive_mode"}, told.Restart)
	require.Equal(t, "minimal", asks(t, server, "SHOW wal_level"), "it restarts nothing")
	code, settings, _, stderr = look()
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "to take effect with a restart: wal_level, max_wal_senders, archive_mode")
	require.Equal(t, postgres.SettingPending, settings["archive_mode"].State)

	require.NoError(t, server.Stop(t.Context()))
	require.NoError(t, server.Start(t.Context()))
	code, _, told, stderr = look()
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "1 setting to be changed")
	require.Equal(t, `host replication "postgres" 127.0.0.1/32 scram-sha-256`, told.Door.Line)
	code, _, told, stderr = look("--apply")
	require.Equal(t, 0, code, stderr)
	require.Empty(t, told.Restart)
	code, settings, told, stderr = look()
	require.Equal(t, 0, code, stderr)
	require.True(t, told.Door.Open, "a base backup is let in")
	for name, one := range settings {
		require.Equal(t, postgres.SettingKept, one.State, name)
	}
	body, err := os.ReadFile(hba)
	require.NoError(t, err)
	require.Equal(t, "# base backups of lifeboat\nhost replication \"postgres\" 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n", string(body))
	code, stdout, _ := s.run(t, "database", "setup")
	require.Equal(t, 0, code)
	require.Contains(t, stdout, "archive_timeout  kept  60")
}

func TestWhatCanNotBeKnownIsLeftToAPerson(t *testing.T) {
	s := openShop(t)
	server := lab.StartPostgres(t, lab.PostgresOptions{ArchiveCommand: "PGPASSWORD=swordfish another-tool %p"})
	s.protects(t, server)
	code, stdout, stderr := s.run(t, "database", "setup", "orders", "--apply")
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "another program archives")
	require.NotContains(t, stdout+stderr, "swordfish")
	require.Equal(t, "0", asks(t, server, "SELECT setting FROM pg_settings WHERE name = 'archive_timeout'"), "nothing is written when one is refused")

	code, stdout, stderr = s.run(t, "database", "setup", "orders")
	require.Equal(t, fault.ExitFailed, code)
	require.Contains(t, stderr, "1 setting for a person to decide, 1 to be changed")
	require.NotContains(t, stdout+stderr, "swordfish")
	code, _, stderr = s.run(t, "database", "setup", "orders", "--apply", "--replace")
	require.Equal(t, 0, code, stderr)
	require.Contains(t, asks(t, server, "SHOW archive_command"), "wal-push %p")

	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), server.DataDir, server.DataDir+"-elsewhere", 1))
	require.NoError(t, os.WriteFile(s.config, text, 0o600))
	code, _, stderr = s.run(t, "database", "setup", "orders")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "run this on the server's host")
}

// protects adds a database on a server to the shop.
func (s shopStore) protects(t *testing.T, server *lab.Postgres) {
	t.Helper()
	s.env["DSN"] = server.DSN
	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	text = fmt.Appendf(text, "databases:\n  - name: orders\n    connection: env:DSN\n    data_dir: %s\n    service: postgresql\nservices:\n  - {name: postgresql, role: server, kind: systemd, unit: postgresql}\n", server.DataDir)
	require.NoError(t, os.WriteFile(s.config, text, 0o600))
}

func TestAWordIsQuotedForTheShellOnlyWhenItHasTo(t *testing.T) {
	require.Equal(t, "/usr/bin/lifeboat", shellWord("/usr/bin/lifeboat"))
	require.Equal(t, "'/srv/my files/life'\\''boat'", shellWord("/srv/my files/life'boat"))
}
