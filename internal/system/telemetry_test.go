package system_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

func TestMistakesInTelemetryAreNamedWithPlaceAndHint(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"level", "telemetry: {log_level: verbose}", `telemetry.log_level: "verbose" is not allowed: debug, info, warn, error`, "known are"},
		{"format", "telemetry: {log_format: jsn}", `telemetry.log_format: "jsn" is not allowed: json, console`, "did you mean json?"},
		{"no address", "telemetry: {metrics: 9464}", "telemetry.metrics: must be text, not a number", "in quotes"},
		{"no port", "telemetry: {metrics: 127.0.0.1}", `telemetry.metrics: "127.0.0.1" is no address to listen at`, "127.0.0.1:9464"},
		{"any port", "telemetry: {metrics: '127.0.0.1:0'}", `"127.0.0.1:0" is no address to listen at`, "127.0.0.1:9464"},
		{"to everybody", "telemetry: {metrics: ':9464'}", "telemetry.metrics: :9464 can be reached from other hosts", "metrics_remote: true"},
		{"no URL", "telemetry: {traces: 127.0.0.1:4318}", `telemetry.traces: is no http or https address`, "write it whole"},
		{"secret in the URL", "telemetry: {traces: 'http://u:hunter2@127.0.0.1:4318'}", "telemetry.traces: holds credentials", "out of the address"},
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
