package system_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

func TestDurationReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"45s": 45 * time.Second, "30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "1h": time.Hour, "10h": 10 * time.Hour,
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "1h0m5s": time.Hour + 5*time.Second, "41.2s": 41200 * time.Millisecond,
		"-5s": -5 * time.Second, "-2d": -48 * time.Hour, "500ms": 500 * time.Millisecond,
	} {
		d, err := system.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, d.Std(), text)
		again, err := system.ParseDuration(d.String())
		require.NoError(t, err, d.String())
		require.Equal(t, d, again)
		raw, err := json.Marshal(d)
		require.NoError(t, err)
		var back system.Duration
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, d, back)
	}
	for _, text := range []string{"", "5", "1.5d", "d", "5 m", "1d-2h", "--5s", "999999999d", "1h1d"} {
		_, err := system.ParseDuration(text)
		require.Error(t, err, text)
	}
	var d system.Duration
	require.ErrorContains(t, json.Unmarshal([]byte("30"), &d), `written as text with a unit`)
}

func TestBytesReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "512": 512, "64KiB": 64 << 10, "192MiB": 192 << 20, "3GiB": 3 << 30, "1TiB": 1 << 40, "5GB": 5e9, "7 MB": 7e6, "10B": 10, "2kB": 2000, "1TB": 1e12} {
		var b system.Bytes
		require.NoError(t, b.UnmarshalText([]byte(text)), text)
		require.EqualValues(t, want, b, text)
		raw, err := json.Marshal(b)
		require.NoError(t, err)
		var back system.Bytes
		require.NoError(t, json.Unmarshal(raw, &back))
		require.Equal(t, b, back)
	}
	var b system.Bytes
	require.NoError(t, json.Unmarshal([]byte("1024"), &b))
	require.EqualValues(t, 1024, b)
	for _, text := range []string{"", "-1", "1.5GiB", "9999999TiB", "MiB", "1 XB"} {
		require.Error(t, b.UnmarshalText([]byte(text)), text)
	}
}

func TestBytesAreRoundedForAPerson(t *testing.T) {
	for b, want := range map[system.Bytes]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 200 << 20: "200.0 MiB", 2040109466: "1.9 GiB"} {
		require.Equal(t, want, b.Human())
	}
}

func TestDateIsADay(t *testing.T) {
	var d system.Date
	require.NoError(t, json.Unmarshal([]byte(`"2024-01-31"`), &d))
	require.Equal(t, system.NewDate(2024, time.January, 31), d)
	require.Error(t, json.Unmarshal([]byte(`"2024-02-30"`), &d))
	raw, err := json.Marshal(system.Date{})
	require.NoError(t, err)
	require.Equal(t, `""`, string(raw))
	require.NoError(t, json.Unmarshal(raw, &d))
	require.True(t, d.IsZero())
}

func TestSecretIsResolvedWithoutItsNewlineAndNeverShown(t *testing.T) {
	env := environment("KEY", "value", "EMPTY", "")
	files := func(path string) ([]byte, error) {
		switch path {
		case "/key":
			return []byte("from file\n"), nil
		case "/empty":
			return []byte("\n"), nil
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	secret, err := system.SecretRef("env:KEY").Resolve(env, files)
	require.NoError(t, err)
	require.Equal(t, "value", string(secret))
	secret, err = system.SecretRef("file:/key").Resolve(env, files)
	require.NoError(t, err)
	require.Equal(t, "from file", string(secret))
	secret, err = system.SecretRef("").Resolve(env, files)
	require.NoError(t, err)
	require.Nil(t, secret)
	for _, ref := range []system.SecretRef{"env:NONE", "env:EMPTY", "file:/empty", "file:/none", "hunter2"} {
		_, err := ref.Resolve(env, files)
		require.True(t, fault.Has(err, fault.SecretUnavailable), string(ref))
		require.NotContains(t, err.Error(), "hunter2")
		require.NotEmpty(t, fault.HintOf(err))
	}
	_, err = system.SecretRef("file:/none").Resolve(env, files)
	require.ErrorContains(t, err, "resolve secret file:/none: secret can't be resolved: file does not exist")
}
