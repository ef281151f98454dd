package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

func TestTheStagedServerGetsNoSecretThatFetchingWALDoesNotNeed(t *testing.T) {
	s := &system.System{
		Keys:      system.Keys{Encryption: []system.SecretRef{"env:ZZ_KEY", "file:/etc/lifeboat/key"}},
		Stores:    []system.Store{{AccessKey: "env:ZZ_ACCESS", SecretKey: "env:ZZ_SECRET"}, {AccessKey: "env:ZZ_REPLICA"}},
		Databases: []system.Database{{Connection: "env:ZZ_DSN"}},
		Caches:    []system.Cache{{Password: "env:ZZ_PASSWORD"}},
	}
	for _, name := range []string{"ZZ_KEY", "ZZ_ACCESS", "ZZ_SECRET", "ZZ_REPLICA", "ZZ_DSN", "ZZ_PASSWORD", "ZZ_OTHER"} {
		t.Setenv(name, "value")
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	got := environment(s)
	require.Subset(t, got, []string{"ZZ_KEY=value", "ZZ_ACCESS=value", "ZZ_SECRET=value", "ZZ_REPLICA=value", "AWS_REGION=eu-central-1"})
	for _, name := range []string{"ZZ_DSN", "ZZ_PASSWORD", "ZZ_OTHER"} {
		require.NotContains(t, got, name+"=value")
	}
}
