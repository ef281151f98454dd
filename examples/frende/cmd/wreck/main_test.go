package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
)

func TestHostKillsAndRemovesWhatItIsTold(t *testing.T) {
	l := lab.New(t)
	for _, name := range []string{"one", "two"} {
		service, err := l.Define(lab.Program{Name: name, Args: []string{"/usr/bin/tail", "-f", "/dev/null"}})
		require.NoError(t, err)
		require.NoError(t, service.Start(t.Context()))
	}
	data, err := l.Folder("one", "data")
	require.NoError(t, err)
	done, err := run(t.Context(), []string{"--lab", l.Dir, "host", "--kill", "one", "--remove", data})
	require.NoError(t, err)
	require.NotZero(t, done.At)
	require.NoDirExists(t, data)
	for name, expected := range map[string]bool{"one": false, "two": true} {
		service, err := l.Service(name)
		require.NoError(t, err)
		running, err := service.Running()
		require.NoError(t, err)
		require.Equal(t, expected, running, name)
	}
}

func TestHostTouchesNothingWhenAskedForTooMuch(t *testing.T) {
	l := lab.New(t)
	outside := t.TempDir()
	service, err := l.Define(lab.Program{Name: "one", Args: []string{"/usr/bin/tail", "-f", "/dev/null"}})
	require.NoError(t, err)
	require.NoError(t, service.Start(t.Context()))
	for _, bad := range [][]string{
		{"host", "--kill", "one", "--remove", outside},
		{"host", "--kill", "one", "--remove", l.Dir},
		{"host", "--kill", "one", "--remove", l.Path("..")},
		{"host", "--kill", "one,unknown"},
		{"chunk", "--store", outside, "--under", "x"},
		{"chunk"},
		{"table", "--config", outside, "--table", "matches"},
		{"table", "--config", l.Path("config"), "--table", "matches; drop table users"},
		{"dance"},
	} {
		_, err := run(t.Context(), append([]string{"--lab", l.Dir}, bad...))
		require.Error(t, err, bad)
	}
	require.DirExists(t, outside)
	running, err := service.Running()
	require.NoError(t, err)
	require.True(t, running)
}

func TestChunkFlipsOneByteInEachRegion(t *testing.T) {
	l := lab.New(t)
	content := bytes.Repeat([]byte("sealed"), 100)
	var stores []string
	for _, region := range []string{"here", "there"} {
		for _, name := range []string{"chunk/1/000000", "chunk/1/000001", "manifest", "intent"} {
			path := l.Path(region, "bucket/key.base", name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			written := content
			if name == "chunk/1/000000" {
				written = content[:10]
			}
			require.NoError(t, os.WriteFile(path, written, 0o644))
		}
		stores = append(stores, l.Path(region, "bucket"))
	}
	done, err := run(t.Context(), []string{"--lab", l.Dir, "chunk", "--store", stores[0] + "," + stores[1], "--under", "key.base"})
	require.NoError(t, err)
	require.Equal(t, "key.base/chunk/1/000001", done.Object)
	for _, store := range stores {
		damaged, err := os.ReadFile(filepath.Join(store, done.Object))
		require.NoError(t, err)
		require.Len(t, damaged, len(content))
		damaged[done.Offset] ^= 0x10
		require.Equal(t, content, damaged)
	}
}
