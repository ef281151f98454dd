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
