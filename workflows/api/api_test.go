package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/workflows/api"
)

// decode brings a text through Temporal's own converter, as a worker does.
func decode[T any](t *testing.T, text string) api.Input[T] {
	t.Helper()
	payload, err := converter.GetDefaultDataConverter().ToPayload(json.RawMessage(text))
	require.NoError(t, err)
	var in api.Input[T]
	require.NoError(t, converter.GetDefaultDataConverter().FromPayload(payload, &in), "a bad input must reach the workflow, which names the mistake")
	return in
}

func TestInputKeepsWhatDoesNotBelong(t *testing.T) {
	for text, says := range map[string]string{
		`{"systm":"frende"}`:                         `unknown field "systm"`,
		`{"system":"frende","to":7}`:                 "to",
		`{"since":"yesterday"}`:                      "yesterday",
		`["frende"]`:                                 "array",
		`{"system":"frende","yes_destrpy":"frende"}`: `unknown field "yes_destrpy"`,
	} {
		_, err := decode[api.RecoverInput](t, text).Checked(api.RecoverSystem)
		require.True(t, fault.Has(err, fault.InputInvalid), "%s: %v", text, err)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "RecoverSystem", "the subject is named")
		require.NotEmpty(t, fault.HintOf(err))
	}
}

func TestInputTakesNothingAndEverything(t *testing.T) {
	for _, text := range []string{`{}`, `null`} {
		in, err := decode[api.RecoverInput](t, text).Checked(api.RecoverSystem)
		require.NoError(t, err, text)
		require.Zero(t, in)
	}
	since := time.Date(2024, 1, 15, 9, 41, 22, 0, time.UTC)
	full := api.RecoverInput{System: "frende", Component: "frende", To: "latest", Target: "production", Since: &since, YesDestroy: "frende", By: "dba@frende.com"}
	text, err := json.Marshal(api.Of(full))
	require.NoError(t, err)
	in, err := decode[api.RecoverInput](t, string(text)).Checked(api.RecoverSystem)
	require.NoError(t, err)
	require.Equal(t, full, in)
}

func TestIDsAreReadableAndNeverCollide(t *testing.T) {
	require.Equal(t, "recover/frende", api.RecoveryID("frende", "", ""))
	require.Equal(t, "recover/frende", api.RecoveryID("frende", "production", ""))
	require.Equal(t, "recover/frende/database", api.RecoveryID("frende", "", "database"))
	require.Equal(t, "recover/frende/database/frende", api.ComponentRecoveryID("frende", "", "database", "frende"))
	require.Equal(t, "recover/frende/target/sandbox/database/frende", api.ComponentRecoveryID("frende", "sandbox", "database", "frende"))
	require.Equal(t, "backup/frende/20240115T020000Z", api.BackupID("frende", "", "", time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)))
	require.NotEqual(t, api.RecoveryID("frende", "", "database"), api.ComponentRecoveryID("frende", "", "database", "frende"),
		"a coordinator must be able to start its child")
}
