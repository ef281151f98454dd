package vault

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
	"github.com/frende/lifeboat/workflows/api"
)

// shelf is a system of one file set over two buckets, of which the first locks.
type shelf struct {
	server           *lab.S3
	system           system.System
	primary, replica store.Store
	ring             *keys.Ring
	ahead            time.Duration // of the writer's clock
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	server := lab.StartS3(t)
	_, err := server.Client().CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String("primary"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	server.NewBucket(t, "second")
	open := func(bucket string) store.Store {
		opened, err := s3.New(t.Context(), s3.Config{
			Name: bucket, Bucket: bucket, Region: server.Region, Endpoint: server.Endpoint, PathStyle: true, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
		})
		require.NoError(t, err)
		t.Cleanup(opened.Close)
		return opened
	}
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))}})
	require.NoError(t, err)
	return &shelf{
		server: server, primary: open("primary"), replica: open("second"), ring: ring,
		system: system.System{
			Name: "frende", Backup: system.Backup{Compression: "zstd"}, Files: []system.FileSet{{Name: "uploads"}},
			Stores: []system.Store{{Name: "primary", Replica: "second"}, {Name: "second"}},
		},
	}
}

func (s *shelf) vault(_ context.Context, _ system.System, _ func(vault.Fallback)) (*vault.Vault, error) {
	return vault.New(vault.Config{
		System: "frende", Store: s.primary, Replica: s.replica, Keys: s.ring, Budget: vault.NewBudget(64 << 20),
		Now: func() time.Time { return time.Now().Add(s.ahead) },
	})
}

// backUp makes a backup of one stream, finished so long ago.
func (s *shelf) backUp(t *testing.T, ago time.Duration) string {
	t.Helper()
	s.ahead = -ago
	v, err := s.vault(t.Context(), s.system, nil)
	require.NoError(t, err)
	w, err := v.Begin(t.Context(), vault.Intent{Folder: "file-backups", Kind: "tree", System: "frende", Component: "uploads", RunID: "run" + ago.String(), At: time.Now().Add(-ago)})
	require.NoError(t, err)
	out, err := w.Create(t.Context(), "files")
	require.NoError(t, err)
	_, err = io.WriteString(out, "a photo")
	require.NoError(t, err)
	require.NoError(t, out.Close())
	_, err = w.Commit(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return w.Key()
}

func (s *shelf) list(t *testing.T, copied bool, key string) (api.Listed, error) {
	t.Helper()
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(New(Deps{Vault: s.vault}), activity.RegisterOptions{Name: "vault."})
	var result api.Listed
	value, err := env.ExecuteActivity("vault.List", ListInput{System: s.system, Component: s.system.Components()[0], Key: key, Copy: copied})
	if err != nil {
		return result, err
	}
	require.NoError(t, value.Get(&result))
	return result, nil
}

// chunkOf is the only chunk of a backup.
func (s *shelf) chunkOf(t *testing.T, key string) string {
	t.Helper()
	for info, err := range s.primary.List(t.Context(), key+"/chunk/", store.ListOptions{}) {
		require.NoError(t, err)
		return info.Key
	}
	t.Fatal("there is no chunk")
	return ""
}

func TestEveryKeptBackupIsHeldAgainstWhatEachStoreLists(t *testing.T) {
	s := newShelf(t)
	oldest, older := s.backUp(t, 50*time.Hour), s.backUp(t, 26*time.Hour)
	_, err := replicate.Run(t.Context(), replicate.Config{From: s.primary, To: s.replica, Memory: vault.NewBudget(64 << 20)})
	require.NoError(t, err)
	_, err = s.server.Client().PutObjectRetention(t.Context(), &sdk.PutObjectRetentionInput{
		Bucket: aws.String("primary"), Key: aws.String(older + "/manifest"),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(time.Hour))},
	})
	require.NoError(t, err)
	newest := s.backUp(t, time.Minute)

	first, err := s.list(t, false, "")
	require.NoError(t, err)
	require.Equal(t, 3, first.Backups)
	require.Equal(t, 1, first.Locked)
	require.EqualValues(t, 6, first.Objects, "a chunk and a manifest of each")
	require.Positive(t, first.Bytes)
	require.Zero(t, first.Wrong)

	second, err := s.list(t, true, "")
	require.NoError(t, err)
	require.Equal(t, "second", second.Store)
	require.Equal(t, 2, second.Backups)
	require.Equal(t, 1, second.Copying, "it was finished a minute ago")
	require.Zero(t, second.Wrong)

	lost := s.chunkOf(t, oldest)
	require.NoError(t, s.replica.Delete(t.Context(), lost, ""))
	require.NoError(t, s.replica.Delete(t.Context(), older+"/manifest", ""))
	second, err = s.list(t, true, "")
	require.NoError(t, err)
	require.Equal(t, 2, second.Wrong)
	require.Equal(t, []api.Lacking{
		{Key: older, Why: "ObjectMissing: it has no manifest"}, {Key: oldest, Why: "BackupIncomplete: no store that answers has " + lost},
	}, second.Lacking)

	require.NoError(t, s.primary.Delete(t.Context(), s.chunkOf(t, newest), ""))
	first, err = s.list(t, false, newest)
	require.NoError(t, err)
	require.Equal(t, 1, first.Wrong, "one backup alone")
	require.Zero(t, first.Backups)

	t.Run("without a replica there is none to look at", func(t *testing.T) {
		alone := *s
		alone.replica = nil
		_, err := alone.list(t, true, "")
		require.ErrorContains(t, err, "the store has no replica")
	})
	t.Run("a store that is away is no verdict", func(t *testing.T) {
		_, err := s.server.Kill(t.Context())
		require.NoError(t, err)
		_, err = s.list(t, false, newest)
		require.ErrorContains(t, err, "store can't be reached")
	})
}
