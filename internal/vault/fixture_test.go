package vault

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
)

const fixtureIdentity = "a8abababababababababababababababababababababababababababababab6b"

// TestReleasedFormatsOpenForEver reads stores that releases have written, one of each
// format. Their files never change: a newer format gets a folder of its own.
func TestReleasedFormatsOpenForEver(t *testing.T) {
	for of := hmacSHA256; of <= newest; of++ {
		t.Run(fmt.Sprint("v", of), func(t *testing.T) { opensFixture(t, of) })
	}
}

func opensFixture(t *testing.T, of version) {
	s := mem.New("fixture")
	root := filepath.Join("testdata", fmt.Sprint("v", of))
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = s.Put(t.Context(), filepath.ToSlash(key), body, store.PutOptions{})
		return err
	}))
	rings := map[string]keys.Config{
		"raw":        {Secrets: []keys.Secret{keys.NewSecret([]byte(testSecret))}},
		"passphrase": {System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte("correct horse battery staple"))}},
		"identity":   {Identities: []keys.Secret{keys.NewSecret([]byte(fixtureIdentity))}},
	}
	for name, config := range rings {
		t.Run(name, func(t *testing.T) {
			ring, err := keys.NewRing(config)
			require.NoError(t, err)
			v, err := New(Config{System: "frende", Store: s, Keys: ring, Budget: NewBudget(64 << 20)})
			require.NoError(t, err)
			for i, codec := range []string{"zstd", "gzip", "none"} {
				b := open(t, v, fixtureIntent(i, codec).Key())
				require.NoError(t, b.Verify(t.Context(), nil))
				require.EqualValues(t, of, b.Manifest().Version)
				for stream, want := range fixtureStreams(i) {
					got, err := readStream(t.Context(), b, stream)
					require.NoError(t, err)
					require.True(t, bytes.Equal(want, got), "%s of %s", stream, codec)
				}
				var fact struct{ LSN string }
				require.NoError(t, b.Manifest().Fact("postgres", &fact))
				require.Equal(t, "0/3000148", fact.LSN)
			}
			got, err := v.GetSealed(t.Context(), single)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content(99, 5_000), got))
		})
	}
}

func fixtureIntent(i int, codec string) Intent {
	in := testIntent(codec)
	in.At = in.At.AddDate(0, 0, i)
	return in
}

func fixtureStreams(i int) map[string][]byte {
	return map[string][]byte{"base.tar": content(uint64(i), 9_000), "noise": noise(uint64(i), 3_000), "empty": {}}
}

// writeFixture makes a store that the test above reads; it ran once for each
// format, when that was the newest, as: go test ./internal/vault -run TestWriteTheFixture -fixture DIR
func writeFixture(t *testing.T, into string) {
	identity, err := keys.NewRing(keys.Config{Identities: []keys.Secret{keys.NewSecret([]byte(fixtureIdentity))}})
	require.NoError(t, err)
	ring, err := keys.NewRing(keys.Config{
		System: "frende", Recipients: identity.Recipients(),
		Secrets: []keys.Secret{keys.NewSecret([]byte(testSecret)), keys.NewSecret([]byte("correct horse battery staple"))},
	})
	require.NoError(t, err)
	s := mem.New("fixture")
	v := small(t, func(c *Config) { c.Store, c.Keys = s, ring })
	for i, codec := range []string{"zstd", "gzip", "none"} {
		backUp(t, v, fixtureIntent(i, codec), fixtureStreams(i))
	}
	require.NoError(t, v.PutSealed(t.Context(), single, "wal-main-20240115", content(99, 5_000), SealedOptions{IfNoneMatch: true}))
	for info, err := range s.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		path := filepath.Join(into, filepath.FromSlash(info.Key))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, raw(t, s, info.Key), 0o644))
	}
}

var fixtureDir = flag.String("fixture", "", "write the fixture of the current format into this directory")

func TestWriteTheFixture(t *testing.T) {
	into := *fixtureDir
	if into == "" { // what it writes elsewhere is still proof that it can
		into = t.TempDir()
	}
	writeFixture(t, into)
	require.FileExists(t, filepath.Join(into, formatKey))
}
