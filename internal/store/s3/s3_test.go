package s3_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/store/storetest"
)

const bucket = "backups"

// configured gives the configuration of a store on the server, whose tries follow at once.
func configured(server *lab.S3, endpoint string) s3.Config {
	return s3.Config{
		Name: "primary", Bucket: bucket, Region: server.Region, Endpoint: endpoint, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
		Retry: s3.Retry{Attempts: 6, Backoff: time.Millisecond, Longest: 5 * time.Millisecond},
		Stall: 2 * time.Second,
	}
}

func open(t *testing.T, c s3.Config) *s3.Store {
	t.Helper()
	opened, err := s3.New(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(opened.Close)
	return opened
}

func serve(t *testing.T) *lab.S3 {
	t.Helper()
	server := lab.StartS3(t)
	server.NewBucket(t, bucket)
	return server
}

func TestS3KeepsTheContract(t *testing.T) {
	server := serve(t)
	var serial atomic.Int32
	storetest.Run(t, func(t *testing.T) store.Store {
		c := configured(server, server.Endpoint)
		c.Prefix = fmt.Sprintf("/tests/%d/", serial.Add(1))
		return open(t, c)
	})
}

func TestStoreIsNamedWithoutItsSecrets(t *testing.T) {
	c := s3.Config{Name: "primary", Bucket: "frende-db-backups", Region: "us-east-1", AccessKey: "AKIA", SecretKey: "hidden"}
	require.Equal(t, "primary (s3://frende-db-backups in us-east-1)", open(t, c).Name())
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c)} {
		require.NotContains(t, text, "hidden")
	}
	c.Prefix = "prod/"
	require.Equal(t, "primary (s3://frende-db-backups/prod in us-east-1)", open(t, c).Name())
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, c := range []s3.Config{
		{Name: "primary", Region: "us-east-1"},
		{Name: "primary", Bucket: "b"},
		{Name: "primary", Bucket: "b", Region: "r", AccessKey: "only one half"},
		{Name: "primary", Bucket: "b", Region: "r", CACert: "does/not/exist.pem"},
		{Name: "primary", Bucket: "b", Region: "r", CACert: "doc.go"},
	} {
		_, err := s3.New(t.Context(), c)
		require.Equal(t, fault.ConfigInvalid, fault.KindOf(err), "%v", err)
	}
}

func TestMissingBucketIsNamed(t *testing.T) {
	server := serve(t)
	c := configured(server, server.Endpoint)
	c.Bucket = "nobody-made-this"
	s := open(t, c)
	_, err := s.Put(t.Context(), "k", nil, store.PutOptions{})
	require.Equal(t, fault.StorageMissing, fault.KindOf(err), "%v", err)
	_, err = s.Head(t.Context(), "k")
	require.Equal(t, fault.StorageMissing, fault.KindOf(err), "%v", err)
	_, _, err = s.Get(t.Context(), "k")
	require.Equal(t, fault.StorageMissing, fault.KindOf(err), "%v", err)
	for _, err = range s.List(t.Context(), "", store.ListOptions{}) {
		require.Equal(t, fault.StorageMissing, fault.KindOf(err), "%v", err)
	}
	require.ErrorContains(t, err, "nobody-made-this")
}

func TestWrongCredentialsAreDenied(t *testing.T) {
	server := serve(t)
	c := configured(server, server.Endpoint)
	c.SecretKey = "not the secret"
	_, err := open(t, c).Put(t.Context(), "k", nil, store.PutOptions{})
	require.Equal(t, fault.StorageDenied, fault.KindOf(err), "%v", err)
	require.Contains(t, fault.HintOf(err), "access_key")
	require.NotContains(t, err.Error(), "not the secret")
}

func TestStoreThatIsNotThereIsUnavailable(t *testing.T) {
	server := serve(t)
	require.NoError(t, server.Stop(t.Context()))
	s := open(t, configured(server, server.Endpoint))
	_, err := s.Put(t.Context(), "k", nil, store.PutOptions{})
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
	require.True(t, fault.Retryable(err))
	_, err = s.Head(t.Context(), "k")
	require.Equal(t, fault.StorageUnavailable, fault.KindOf(err), "%v", err)
}
