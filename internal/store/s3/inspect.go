package s3

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

var _ store.Inspector = (*Store)(nil)

const (
	opVersioning = "ask for versioning"
	opLock       = "ask for object lock"
)

// Clock compares the clocks; see store.Inspector.
func (s *Store) Clock(ctx context.Context) (time.Duration, error) {
	head, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String(s.bucket)})
	if err == nil {
		told, ok := awsmiddleware.GetServerTime(head.ResultMetadata)
		if !ok {
			return 0, fault.Newf(fault.StorageUnavailable, "ask for the time", s.name, "the answer does not tell it")
		}
		at, ok := awsmiddleware.GetResponseAt(head.ResultMetadata)
		if !ok {
			at = time.Now()
		}
		return told.Sub(at), nil
	}
	var refused *smithyhttp.ResponseError
	if !errors.As(err, &refused) {
		return 0, s.fail("reach", "", err)
	}
	told, dateErr := http.ParseTime(refused.Response.Header.Get("Date"))
	if dateErr != nil {
		return 0, s.fail("reach", "", err)
	}
	return time.Until(told), nil
}

// Versioning asks the bucket; see store.Inspector.
func (s *Store) Versioning(ctx context.Context) (bool, error) {
	found, err := s.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: aws.String(s.bucket)})
	if err != nil {
		return false, s.fail(opVersioning, "", err)
	}
	return found.Status == types.BucketVersioningStatusEnabled, nil
}

// ObjectLock asks the bucket; see store.Inspector.
func (s *Store) ObjectLock(ctx context.Context) (store.Lock, error) {
	found, err := s.client.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: aws.String(s.bucket)})
	if apiCode(err) == "ObjectLockConfigurationNotFoundError" {
		return store.Lock{}, nil
	}
	if err != nil {
		return store.Lock{}, s.fail(opLock, "", err)
	}
	configured := found.ObjectLockConfiguration
	if configured == nil || configured.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return store.Lock{}, nil
	}
	lock := store.Lock{Enabled: true}
	if configured.Rule != nil && configured.Rule.DefaultRetention != nil {
		by := configured.Rule.DefaultRetention
		const day = 24 * time.Hour
		lock.Mode = string(by.Mode)
		lock.Retention = time.Duration(aws.ToInt32(by.Days))*day + time.Duration(aws.ToInt32(by.Years))*365*day
	}
	return lock, nil
}
