package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// fail names an error of the SDK. op is the verb, key may be empty.
func (s *Store) fail(op, key string, err error) error {
	subject, status, code := store.Subject(s.name, key), httpStatus(err), apiCode(err)
	why := &cause{err: err}
	if passing(err) {
		return fault.New(fault.StorageUnavailable, op, subject, why)
	}
	switch code {
	case "NoSuchBucket":
		return fault.New(fault.StorageMissing, op, s.name, why)
	case "NoSuchKey", "NotFound", "NoSuchVersion":
		return fault.New(fault.ObjectMissing, op, subject, nil)
	case "PreconditionFailed":
		return fault.New(fault.ObjectExists, op, subject, nil)
	case "InvalidRange":
		return fault.New(fault.IntegrityError, op, subject, why)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken":
		return fault.New(fault.StorageDenied, op, s.name, why).WithHint("the store does not know these credentials: check access_key and secret_key")
	case "RequestTimeTooSkewed":
		return fault.New(fault.StorageDenied, op, s.name, why).WithHint("correct this host's clock: it differs from the store's by too much")
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fault.New(fault.StorageMissing, op, s.name, why).WithHint("the bucket is in another region: correct region or endpoint")
	}
	switch status {
	case 0: // no answer, and the caller gave up
		return fault.New(fault.StorageUnavailable, op, subject, why)
	case http.StatusNotFound:
		return fault.New(fault.ObjectMissing, op, subject, nil)
	case http.StatusPreconditionFailed:
		return fault.New(fault.ObjectExists, op, subject, nil)
	case http.StatusRequestedRangeNotSatisfiable:
		return fault.New(fault.IntegrityError, op, subject, why)
	case http.StatusForbidden, http.StatusUnauthorized:
		return fault.New(fault.StorageDenied, op, subject, why).WithHint("%s", deniedHint(op, s.name))
	case http.StatusNotImplemented:
		return fault.New(fault.Unsupported, op, subject, why).WithHint("this S3 server lacks what Lifeboat needs: conditional writes (If-None-Match) and versioning")
	}
	return fault.New(fault.StorageDenied, op, subject, why)
}

func deniedHint(op, name string) string {
	action := map[string]string{
		"put": "s3:PutObject", "get": "s3:GetObject", "head": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject and s3:DeleteObjectVersion",
		opVersioning: "s3:GetBucketVersioning", opLock: "s3:GetBucketObjectLockConfiguration",
	}[op]
	if op == "put" {
		return fmt.Sprintf("%s can't be written with these credentials, or is read-only: allow %s", name, action)
	}
	return fmt.Sprintf("allow %s on %s for these credentials; S3 says the same of an object that is not there when s3:ListBucket is not allowed", action, name)
}

// cause keeps the SDK's error for errors.Is and errors.As and says it shortly:
// without request ids, URLs and the SDK's own words.
type cause struct{ err error }

func (c *cause) Error() string {
	var api smithy.APIError
	if errors.As(c.err, &api) {
		text := api.ErrorCode()
		if message := api.ErrorMessage(); message != "" {
			text += ": " + message
		}
		if status := httpStatus(c.err); status != 0 {
			text = fmt.Sprintf("HTTP %d %s", status, text)
		}
		return text
	}
	var request *url.Error
	if errors.As(c.err, &request) {
		return request.Err.Error()
	}
	if status := httpStatus(c.err); status != 0 {
		return fmt.Sprintf("HTTP %d %s", status, http.StatusText(status))
	}
	return c.err.Error()
}

// Unwrap gives the SDK's error, but never one that is an io.EOF: a connection
// that the server ended must not look like the end of an object.
func (c *cause) Unwrap() error {
	if errors.Is(c.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return c.err
}
