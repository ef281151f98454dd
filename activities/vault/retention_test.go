package vault

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/vault"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"
)

// timed is a store that tells its time.
type timed struct{ store.Store }

func (timed) Clock(context.Context) (time.Duration, error)   { return 0, nil }
func (timed) Versioning(context.Context) (bool, error)       { return true, nil }
func (timed) ObjectLock(context.Context) (store.Lock, error) { return store.Lock{}, nil }

func TestARetentionIsPlannedAndCarriedOut(t *testing.T) {
	began := time.Now().Add(-100 * 24 * time.Hour)
	now := began
	primary := timed{mem.NewAt("primary", func() time.Time { return now })}
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))}})
	require.NoError(t, err)
	opened, err := vault.New(vault.Config{System: "frende", Store: primary, Keys: ring, Budget: vault.NewBudget(64 << 20), Now: func() time.Time { return now }})
	require.NoError(t, err)
	records, err := ledger.New(ledger.Config{Store: primary, Writer: "host", Keys: ring, Now: func() time.Time { return now }})
	require.NoError(t, err)
	var made []string
	for range 4 {
		w, err := opened.Begin(t.Context(), vault.Intent{Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: now.String(), At: now})
		require.NoError(t, err)
		stream, err := w.Create(t.Context(), "content")
		require.NoError(t, err)
		_, err = stream.Write(bytes.Repeat([]byte("x"), 1000))
		require.NoError(t, err)
		require.NoError(t, stream.Close())
		_, err = w.Commit(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		made = append(made, w.Key())
		now = now.Add(20 * 24 * time.Hour)
	}
	now = time.Now()
	for _, key := range made {
		_, err := records.Append(t.Context(), ledger.Record{Kind: "proof", Subject: key, Body: map[string]string{"level": "L2"}})
		require.NoError(t, err)
	}
	reading := ""
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{temporal.FaultInterceptor(zap.NewNop())}})
	env.RegisterActivityWithOptions(New(Deps{
		Vault:   func(context.Context, system.System, func(vault.Fallback)) (*vault.Vault, error) { return opened, nil },
		Ledger:  func(context.Context, system.System) (*ledger.Ledger, error) { return records, nil },
		Reading: func(context.Context, system.System) (string, error) { return reading, nil },
	}), activity.RegisterOptions{Name: "vault."})
	of := system.System{
		Name: "frende", Backup: system.Backup{Compression: "zstd", Retention: system.Duration(30 * 24 * time.Hour)}, Stores: []system.Store{{Name: "primary"}},
		Files: []system.FileSet{{Name: "uploads"}},
	}
	value, err := env.ExecuteActivity("vault.PlanRetention", PlanRetentionInput{System: of, AtMost: 100})
	require.NoError(t, err)
	var plan PlanRetentionResult
	require.NoError(t, value.Get(&plan))
	require.Len(t, plan.Going, 2)
	require.Equal(t, made[0], plan.Going[0].First)
	require.Equal(t, "last proven", plan.Kept[0].Reason)
	require.Equal(t, "anchor", plan.Kept[1].Reason)

	reading = "recover/frende"
	value, err = env.ExecuteActivity("vault.Readers", ReadersInput{System: of})
	require.NoError(t, err)
	var readers ReadersResult
	require.NoError(t, value.Get(&readers))
	require.Equal(t, "recover/frende", readers.Run)
	input := CarryOutInput{System: of, Store: "primary", Going: plan.Going, Floor: plan.Floor, AtMost: 100, By: "test"}
	_, err = env.ExecuteActivity("vault.CarryOutRetention", input)
	require.True(t, fault.Has(temporalfault.FromTemporal(err), fault.RetentionRefused), "%v", err)
	reading = ""
	value, err = env.ExecuteActivity("vault.CarryOutRetention", input)
	require.NoError(t, err)
	var done CarryOutResult
	require.NoError(t, value.Get(&done))
	require.Equal(t, plan.Going, done.Removed)
	require.Empty(t, done.Kept)
	var left []string
	for summary, err := range opened.Backups(t.Context(), vault.Filter{}) {
		require.NoError(t, err)
		left = append(left, summary.Key)
	}
	require.Equal(t, []string{made[3], made[2]}, left)
}
