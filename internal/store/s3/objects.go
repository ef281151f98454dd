package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Put stores body under key; see store.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte, opts store.PutOptions) (store.Info, error) {
	if err := s.check("put", key); err != nil {
		return store.Info{}, err
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	input := &awss3.PutObjectInput{
		Bucket:         aws.String(s.bucket),
		Key:            aws.String(s.prefix + key),
		Body:           bytes.NewReader(body),
		ContentLength:  aws.Int64(int64(len(body))),
		ChecksumCRC32C: aws.String(base64.StdEncoding.EncodeToString(sum)),
	}
	options := []func(*awss3.Options){withPayloadHash(s.payloadHash(body)), withAcknowledgement}
	while := whileFree{retryer: s.retry, taken: func() bool { return s.taken(ctx, key) }}
	if opts.IfNoneMatch {
		input.IfNoneMatch = aws.String("*")
		options = append(options, func(o *awss3.Options) { o.Retryer = &while })
	}
	put, err := s.client.PutObject(ctx, input, options...)
	if while.found {
		return store.Info{}, fault.New(fault.ObjectExists, "put", store.Subject(s.name, key), nil)
	}
	if err != nil {
		return store.Info{}, s.fail("put", key, err)
	}
	return store.Info{Key: key, Size: int64(len(body)), ETag: aws.ToString(put.ETag), Version: aws.ToString(put.VersionId)}, nil
}

// taken says whether the key has an object, as far as one try tells.
func (s *Store) taken(ctx context.Context, key string) bool {
	head, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)},
		func(o *awss3.Options) { o.Retryer = aws.NopRetryer{} })
	return err == nil && aws.ToString(head.ETag) != "" // a proxy's page is no object
}

// Get opens the object; see store.Store.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	if err := s.check("get", key); err != nil {
		return nil, store.Info{}, err
	}
	got, err := s.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)})
	if err != nil {
		return nil, store.Info{}, s.fail("get", key, err)
	}
	if got.ContentLength == nil {
		return nil, store.Info{}, s.discard(key, got.Body, "answer without a length")
	}
	info := store.Info{Key: key, Size: *got.ContentLength, ETag: aws.ToString(got.ETag), Version: aws.ToString(got.VersionId), Modified: aws.ToTime(got.LastModified).UTC()}
	return &reader{ctx: ctx, store: s, key: key, etag: info.ETag, end: info.Size, body: got.Body}, info, nil
}

// GetRange opens length bytes from off; see store.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if err := s.check("get", key); err != nil {
		return nil, err
	}
	if off < 0 || length <= 0 {
		return nil, store.CheckRange(s.name, key, off, length, 0)
	}
	body, etag, err := s.open(ctx, key, "", off, length)
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, store: s, key: key, etag: etag, at: off, end: off + length, body: body}, nil
}

// open asks for a range, of the version with this ETag unless it is empty.
func (s *Store) open(ctx context.Context, key, etag string, off, length int64) (io.ReadCloser, string, error) {
	input := &awss3.GetObjectInput{
		Bucket: aws.String(s.bucket),
		Key:    aws.String(s.prefix + key),
		Range:  aws.String(fmt.Sprintf("bytes=%d-%d", off, off+length-1)),
	}
	if etag != "" {
		input.IfMatch = aws.String(etag)
	}
	got, err := s.client.GetObject(ctx, input)
	if err != nil {
		if etag != "" && httpStatus(err) == http.StatusPreconditionFailed {
			return nil, "", fault.Newf(fault.IntegrityError, "get", store.Subject(s.name, key), "it was replaced while it was read")
		}
		return nil, "", s.fail("get", key, err)
	}
	var first, last, size int64
	if _, err := fmt.Sscanf(aws.ToString(got.ContentRange), "bytes %d-%d/%d", &first, &last, &size); err != nil || first != off {
		return nil, "", s.discard(key, got.Body, "answer is not the range that was asked for")
	}
	if err := store.CheckRange(s.name, key, off, length, size); err != nil {
		_ = got.Body.Close() // nothing of it is used
		return nil, "", err
	}
	return got.Body, aws.ToString(got.ETag), nil
}

// Head describes the object; see store.Store.
func (s *Store) Head(ctx context.Context, key string) (store.Info, error) {
	if err := s.check("head", key); err != nil {
		return store.Info{}, err
	}
	head, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)})
	if err != nil {
		return store.Info{}, s.headFailure(ctx, key, err)
	}
	return store.Info{
		Key: key, Size: aws.ToInt64(head.ContentLength), ETag: aws.ToString(head.ETag),
		Version: aws.ToString(head.VersionId), Modified: aws.ToTime(head.LastModified).UTC(),
		LockedUntil: aws.ToTime(head.ObjectLockRetainUntilDate).UTC(), LegalHold: head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
	}, nil
}

// headFailure tells a missing object from a missing bucket: the answer to a
// HEAD has no body to say which.
func (s *Store) headFailure(ctx context.Context, key string, err error) error {
	if httpStatus(err) != http.StatusNotFound {
		return s.fail("head", key, err)
	}
	_, bucket := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String(s.bucket)})
	switch httpStatus(bucket) {
	case http.StatusNotFound:
		return fault.New(fault.StorageMissing, "head", s.name, nil)
	case 0:
		if bucket != nil {
			return s.fail("head", key, bucket)
		}
	}
	return fault.New(fault.ObjectMissing, "head", store.Subject(s.name, key), nil)
}

// Delete hides the object or removes one version; see store.Store.
func (s *Store) Delete(ctx context.Context, key, version string) error {
	if err := s.check("delete", key); err != nil {
		return err
	}
	input := &awss3.DeleteObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)}
	if version != "" {
		input.VersionId = aws.String(version)
	}
	if _, err := s.client.DeleteObject(ctx, input); err != nil {
		named := s.fail("delete", key, err)
		if fault.Has(named, fault.ObjectMissing) {
			return nil
		}
		return named
	}
	return nil
}

func (s *Store) check(op, key string) error { return store.CheckKey(s.name, op, s.prefix+key) }

// discard drops an answer that can't be used and names why.
func (s *Store) discard(key string, body io.Closer, why string) error {
	_ = body.Close() // nothing of it is used
	return fault.Newf(fault.StorageUnavailable, "get", store.Subject(s.name, key), "%s", why)
}

// payloadHash is what a signature says of a body. Under TLS nobody can change it on
// its way, and hashing it at both ends would cost as much as a third of sealing it.
func (s *Store) payloadHash(body []byte) string {
	if s.secure {
		return "UNSIGNED-PAYLOAD"
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// withPayloadHash gives the signer what it would have to compute for each try.
func withPayloadHash(sum string) func(*awss3.Options) {
	return awss3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("PayloadHash",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, sum), in)
			}), middleware.After)
	})
}

// withAcknowledgement takes only an answer with an ETag for an acknowledgement
// of a PUT: a proxy's page or an error in a body with status 200 is none. It
// sits below the SDK's retries, so that such an answer is tried again.
func withAcknowledgement(o *awss3.Options) {
	awss3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Acknowledgement",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleDeserialize(ctx, in)
				if put, ok := out.Result.(*awss3.PutObjectOutput); err == nil && ok && aws.ToString(put.ETag) == "" {
					return out, metadata, errUnacknowledged
				}
				return out, metadata, err
			}), middleware.Before)
	})(o)
}
