package retention

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/vault"
)

// On a real server nothing can be made to look old, so the retention is a moment.
func TestOnARealServerEveryVersionGoesAndALockIsNamed(t *testing.T) {
	server := lab.StartS3(t)
	locked := "locked"
	_, err := server.Client().CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String(locked), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	server.NewBucket(t, "free")
	open := func(bucket string) *s3.Store {
		opened, err := s3.New(t.Context(), s3.Config{
			Name: bucket, Bucket: bucket, Region: server.Region, Endpoint: server.Endpoint, PathStyle: true, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
		})
		require.NoError(t, err)
		t.Cleanup(opened.Close)
		return opened
	}
	w := newWorld(t)
	primary, replica := open(locked), open("free")
	w.primary.Store, w.replica.Store = primary, replica
	w.open()
	w.system.Databases, w.system.Backup.Retention = nil, 1
	began := time.Now()
	var keys []string
	for n := range 4 { // by the host's clock in their order: the store's is exact to a second
		w.now = began.Add(time.Duration(n+5) * time.Second)
		keys = append(keys, w.tree())
		w.prove(keys[n], "L2")
	}
	w.replicated()
	lock := func(key string, until time.Time) {
		_, err := server.Client().PutObjectRetention(t.Context(), &sdk.PutObjectRetentionInput{
			Bucket: aws.String(locked), Key: aws.String(key),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until)},
		})
		require.NoError(t, err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	lock(keys[0]+"/manifest", until)
	chunk := all(t, primary, keys[1]+"/chunk/")[0]
	lock(chunk, until)

	direct, err := vault.New(vault.Config{System: "frende", Store: primary, Replica: replica, Keys: w.ring, Budget: vault.NewBudget(8 << 20), Now: w.host})
	require.NoError(t, err)
	config := w.config()
	config.Vault = direct
	config.Clock, config.AtMost, config.Now = nil, 100, func() time.Time { return began.Add(30 * time.Second) }
	apply := func() (removed, kept []Entry) {
		r, err := New(config)
		require.NoError(t, err)
		p, err := r.Plan(t.Context())
		require.NoError(t, err)
		kept = p.Kept
		for _, name := range []string{"primary", "dr"} {
			done, err := r.CarryOut(t.Context(), p, name)
			require.NoError(t, err)
			removed, kept = append(removed, done.Removed...), append(kept, done.Kept...)
		}
		return removed, kept
	}
	removed, kept := apply()
	require.Equal(t, "Object Lock of primary keeps it until "+until.Format(time.RFC3339), reasoned(t, kept, "primary", keys[0]).Why)
	denied := reasoned(t, kept, "primary", keys[1])
	require.Equal(t, Denied, denied.Reason)
	require.Contains(t, denied.Why, "primary refuses to delete a part of it, without a manifest already")
	require.Equal(t, []string{keys[1]}, of(removed, "dr", Backup), "the replica has no lock")
	_, err = w.vault.WithStores(primary, nil).OpenWhole(t.Context(), keys[0])
	require.NoError(t, err)
	versions, err := server.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: aws.String("free"), Prefix: aws.String(keys[1])})
	require.NoError(t, err)
	require.Empty(t, versions.Versions)
	require.Empty(t, versions.DeleteMarkers)
	require.Contains(t, all(t, primary, keys[1]), chunk, "it goes when its lock is over")
	require.Contains(t, all(t, primary, keys[1]), keys[1]+"/expired")
	_, err = w.vault.WithStores(primary, nil).Sweep(t.Context(), vault.SweepOptions{})
	require.NoError(t, err)
}
