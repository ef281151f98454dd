package command

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRedactorFindsSecretsHoweverTheyAreSplit(t *testing.T) {
	text := "user=app pass=swordfish swordfish-blade swordfis swordfish"
	want := "user=app pass=[redacted] [redacted] swordfis [redacted]"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		r := newRedactor(&out, []string{"swordfish", "swordfish-blade", "abc"})
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			_, err := r.Write([]byte(rest[:n]))
			require.NoError(t, err)
			rest = rest[n:]
		}
		require.NoError(t, r.Close())
		require.Equal(t, want, out.String(), "written %d bytes at a time", size)
	}
}

func TestRedactorKeepsNothingBackWhenNothingIsSecret(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(&out, []string{"", "a"})
	_, err := r.Write([]byte("banana"))
	require.NoError(t, err)
	require.Equal(t, "banana", out.String())
}

func TestTailKeepsTheLastBytesInBoundedMemory(t *testing.T) {
	kept := &tail{limit: 10}
	for range 1000 {
		_, err := kept.Write([]byte("0123456"))
		require.NoError(t, err)
		require.LessOrEqual(t, len(kept.kept), 27)
	}
	kept.cut()
	require.Equal(t, strings.Repeat("0123456", 2)[4:], string(kept.kept))
	require.True(t, kept.dropped)
}

func FuzzRedactorLeaksNoSecret(f *testing.F) {
	f.Add("xx swordfish", 3)
	f.Fuzz(func(t *testing.T, text string, at int) {
		var out bytes.Buffer
		r := newRedactor(&out, []string{"swordfish"})
		cut := min(max(at, 0), len(text))
		for _, part := range []string{text[:cut], text[cut:]} {
			_, err := r.Write([]byte(part))
			require.NoError(t, err)
		}
		require.NoError(t, r.Close())
		require.Equal(t, strings.ReplaceAll(text, "swordfish", redacted), out.String())
	})
}

func TestRedactHidesWhatIsKnownAndWhatLooksLikeACredential(t *testing.T) {
	for line, want := range map[string]string{
		"nothing to hide":                                              "nothing to hide",
		"logged in with swordfish":                                     "logged in with [redacted]",
		"postgres://app:p@ss/w@rd@db:5432/shop is down":                "postgres://[redacted]@db:5432/shop is down",
		"dial https://db:5432/shop":                                    "dial https://db:5432/shop",
		"host=db user=app password='two words' sslmode=off":            "host=db user=app password=[redacted] sslmode=off",
		`{"api_key": "abc def", "user": "app"}`:                        `{"api_key": [redacted], "user": "app"}`,
		"PGPASSWORD=hunter2 psql":                                      "PGPASSWORD=[redacted] psql",
		"export BACKUP_ENCRYPTION_KEY=0011 now":                        "export BACKUP_ENCRYPTION_KEY=[redacted] now",
		"Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln and more":      "Authorization: Bearer [redacted] and more",
		"authorization: Basic YXBwOmh1bnRlcjI=":                        "authorization: Basic [redacted]",
		"pwd: hunter2":                                                 "pwd: [redacted]",
		"AWS_SECRET_ACCESS_KEY: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE": "AWS_SECRET_ACCESS_KEY: [redacted]",
	} {
		require.Equal(t, want, Redact(line, "swordfish", ""), "%s", line)
	}
}
