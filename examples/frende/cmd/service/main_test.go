package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
)

func TestServiceStartsStopsAndReports(t *testing.T) {
	l := lab.New(t)
	_, err := l.Define(lab.Program{Name: "tail", Args: []string{"/usr/bin/tail", "-f", "/dev/null"}})
	require.NoError(t, err)
	call := func(args ...string) int { return run(t.Context(), append([]string{"--lab", l.Dir}, args...)) }

	require.Equal(t, exitStopped, call("status", "tail"))
	require.Zero(t, call("stop", "tail"), "stopping what is stopped is no failure")
	require.Zero(t, call("start", "tail"))
	require.Zero(t, call("start", "tail"), "starting what runs is no failure")
	require.Zero(t, call("status", "tail"))
	require.Zero(t, call("stop", "tail"))
	require.Equal(t, exitStopped, call("status", "tail"))

	require.Equal(t, exitFailed, call("start", "unknown"))
	require.Equal(t, exitFailed, call("dance", "tail"))
	require.Equal(t, exitUsage, call("start"))
	require.Equal(t, exitFailed, run(t.Context(), []string{"--lab", t.TempDir(), "status", "tail"}))
}
