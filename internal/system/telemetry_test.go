package system_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

func TestMistakesInTelemetryAndConnectionAreNamedWithPlaceAndHint(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"level", "telemetry: {log_level: verbose}", `telemetry.log_level: "verbose" is not allowed: debug, info, warn, error`, "known are"},
		{"format", "telemetry: {log_format: jsn}", `telemetry.log_format: "jsn" is not allowed: json, console`, "did you mean json?"},
		{"no address", "telemetry: {metrics: 9464}", "telemetry.metrics: must be text, not a number", "in quotes"},
		{"no port", "telemetry: {metrics: 127.0.0.1}", `telemetry.metrics: "127.0.0.1" is no address to listen at`, "127.0.0.1:9464"},
		{"any port", "telemetry: {metrics: '127.0.0.1:0'}", `"127.0.0.1:0" is no address to listen at`, "127.0.0.1:9464"},
		{"to everybody", "telemetry: {metrics: ':9464'}", "telemetry.metrics: :9464 can be reached from other hosts", "metrics_remote: true"},
		{"no URL", "telemetry: {traces: 127.0.0.1:4318}", `telemetry.traces: is no http or https address`, "write it whole"},
		{"secret in the URL", "telemetry: {traces: 'http://u:hunter2@127.0.0.1:4318'}", "telemetry.traces: holds credentials", "out of the address"},
		{"one key and many", "temporal: {payload_key: env:KEY, payload_keys: [env:DSN]}", "temporal.payload_key: payload_key and payload_keys exclude each other", "the new one first"},
		{"a key twice", "temporal: {payload_keys: [env:KEY, env:KEY]}", "temporal.payload_keys[1]: this key stands twice", "keep one"},
		{"a payload key in the file", "temporal: {payload_key: 5a5a5a5a}", "temporal.payload_key: is not a reference to a secret", "env:NAME"},
		{"a payload key that is not there", "temporal: {payload_keys: [env:NOWHERE]}", "temporal.payload_keys[0]: environment variable NOWHERE is not set", "set it"},
		{"an address in the file", "temporal: {address: '127.0.0.1:7233'}", `temporal.address: unknown key "address"`, "known are: payload_key, payload_keys"},
		{"unknown key", "telemetry: {loglevel: info}", `telemetry.loglevel: unknown key "loglevel"`, "did you mean log_level?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := findings(t, good+c.text+"\n", secrets)
			require.Len(t, found, 1)
			require.Equal(t, strings.Count(good, "\n")+1, found[0].Line)
			require.Contains(t, found[0].String(), c.want)
			require.Contains(t, found[0].Hint, c.hint)
		})
	}
}

func TestMetricsAreForOtherHostsOnlyWhenTheFileSaysSo(t *testing.T) {
	for _, text := range []string{"metrics: 127.0.0.1:9464", "metrics: '[::1]:9464'", "metrics: localhost:9464", "metrics: '0.0.0.0:9464', metrics_remote: true"} {
		require.Empty(t, findings(t, good+"telemetry: {"+text+"}\n", secrets), text)
	}
}

func TestTelemetryIsOffAndQuietWhenTheFileSaysNothing(t *testing.T) {
	s, err := system.Parse("lifeboat.yaml", []byte(good), secrets)
	require.NoError(t, err)
	require.Equal(t, system.Telemetry{}, s.Telemetry)
}

func TestNothingThatIsWrongElsewhereKeepsAnOperatorFromTemporal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	for _, text := range []string{"", "system: [", "databses: []\ntemporal: {payload_key: env:KEY}\n", "telemetry: {traces: nowhere}\n"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		s, err := system.LoadConnection(path, secrets)
		require.NoError(t, err, text)
		require.Equal(t, strings.Contains(text, "payload_key"), len(s.Temporal.Keys()) == 1)
	}
	require.NoError(t, os.WriteFile(path, []byte("temporal: {payload_key: env:NOWHERE}\n"), 0o600))
	_, err := system.LoadConnection(path, secrets)
	require.ErrorContains(t, err, "temporal.payload_key: environment variable NOWHERE is not set", "without the key it would be said in the clear")
}

func TestWhatTheExampleOffersInCommentsIsValid(t *testing.T) {
	text, err := os.ReadFile(example)
	require.NoError(t, err)
	head, offered, found := strings.Cut(string(text), "# What the worker tells of itself")
	require.True(t, found)
	for line := range strings.Lines(offered) {
		setting, ok := strings.CutPrefix(line, "# ")
		if ok && (strings.HasPrefix(setting, "  ") || strings.HasPrefix(setting, "telemetry:") || strings.HasPrefix(setting, "temporal:")) && !strings.Contains(setting, "payload_keys") {
			head += strings.ReplaceAll(setting, "file:/etc/lifeboat/payload.key", "env:KEY")
		}
	}
	s, err := system.Parse(example, []byte(head), environment("BACKUP_ENCRYPTION_KEY", "k", "FRENDE_DATABASE_URL", "d", "KEY", "p"))
	require.NoError(t, err)
	require.Equal(t, system.Telemetry{LogLevel: system.LogInfo, LogFormat: system.LogJSON, Metrics: "127.0.0.1:9464", MetricsRemote: true, Traces: "http://127.0.0.1:4318"}, s.Telemetry)
	require.Equal(t, []system.SecretRef{"env:KEY"}, s.Temporal.Keys())
}
