package s3_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

func TestABucketTellsItsVersioningAndItsLock(t *testing.T) {
	server := serve(t)
	api := server.Client()
	_, err := api.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("plain")})
	require.NoError(t, err)
	_, err = api.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	asked := func(name string) (bool, store.Lock) {
		c := configured(server, server.Endpoint)
		c.Bucket = name
		s := open(t, c)
		on, err := s.Versioning(t.Context())
		require.NoError(t, err)
		lock, err := s.ObjectLock(t.Context())
		require.NoError(t, err)
		return on, lock
	}

	on, lock := asked(bucket)
	require.True(t, on)
	require.Equal(t, store.Lock{}, lock)
	on, lock = asked("plain")
	require.False(t, on)
	require.False(t, lock.Enabled)
	on, lock = asked("locked")
	require.True(t, on)
	require.Equal(t, store.Lock{Enabled: true}, lock, "nothing is locked by itself")

	_, err = api.PutObjectLockConfiguration(t.Context(), &awss3.PutObjectLockConfigurationInput{
		Bucket: aws.String("locked"), ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(30)}},
		},
	})
	require.NoError(t, err)
	_, lock = asked("locked")
	require.Equal(t, store.Lock{Enabled: true, Mode: "GOVERNANCE", Retention: 30 * 24 * time.Hour}, lock)
}

func TestTheClockIsToldByEveryAnswerAndByNoSilence(t *testing.T) {
	server := serve(t)
	c := configured(server, server.Endpoint)
	off, err := open(t, c).Clock(t.Context())
	require.NoError(t, err)
	require.Less(t, off.Abs(), time.Minute, "both are this host's")

	c.SecretKey = "not the secret"
	off, err = open(t, c).Clock(t.Context())
	require.NoError(t, err, "a refusal tells the time, too")
	require.Less(t, off.Abs(), time.Minute)

	require.NoError(t, server.Stop(t.Context()))
	_, err = open(t, c).Clock(t.Context())
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
}

func TestWhoMayNotAskTheBucketIsTold(t *testing.T) {
	server := serve(t)
	c := configured(server, server.Endpoint)
	c.SecretKey = "not the secret"
	s := open(t, c)
	_, err := s.Versioning(t.Context())
	require.Equal(t, fault.StorageDenied, fault.KindOf(err), "%v", err)
	_, err = s.ObjectLock(t.Context())
	require.Equal(t, fault.StorageDenied, fault.KindOf(err), "%v", err)
}
