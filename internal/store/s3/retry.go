package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// retryer is the SDK's standard one with our own idea of what may pass, and
// without its token bucket: with many transfers at once, a bucket drained by
// one bad minute would deny the others their tries.
type retryer struct {
	*retry.Standard
	backoff *retry.ExponentialJitterBackoff
	first   time.Duration
	longest time.Duration
}

var _ aws.RetryerV2 = (*retryer)(nil)

func newRetryer(r Retry) *retryer {
	if r.Attempts <= 0 {
		r.Attempts = 6
	}
	if r.Backoff <= 0 {
		r.Backoff = 200 * time.Millisecond
	}
	if r.Longest <= 0 {
		r.Longest = 5 * time.Second
	}
	own := &retryer{backoff: retry.NewExponentialJitterBackoff(r.Longest), first: r.Backoff, longest: r.Longest}
	own.Standard = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = r.Attempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(own.pause)
		o.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			return aws.BoolTernary(passing(err))
		})}
	})
	return own
}

// whileFree is for a PUT that wants its key free. A server may answer that it is taken
// before it has read the body, and close: whoever still writes then is told of a
// connection that broke off, at each try. So the key is looked for before the next one.
type whileFree struct {
	*retryer
	taken func() bool
	found bool // it was taken
}

// IsErrorRetryable is that of aws.Retryer.
func (w *whileFree) IsErrorRetryable(err error) bool {
	if !w.retryer.IsErrorRetryable(err) {
		return false
	}
	w.found = brokeOff(err) && w.taken()
	return !w.found
}

// brokeOff says whether a connection that was there is gone without an answer.
func brokeOff(err error) bool {
	for _, end := range []error{syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, end) {
			return httpStatus(err) == 0
		}
	}
	return false
}

// pause is random between 0 and the first pause doubled for each try.
func (r *retryer) pause(attempt int, err error) (time.Duration, error) {
	unit, err := r.backoff.BackoffDelay(attempt, err) // 0 to 2^attempt seconds
	if err != nil {
		return 0, err
	}
	scaled := time.Duration(float64(unit) * r.first.Seconds())
	return min(scaled, r.longest), nil
}

// errUnacknowledged is an answer with a good status that is not S3's answer to a PUT.
var errUnacknowledged = errors.New("answer without an ETag")

// passing says whether the same request may succeed in a moment. An answer that
// is no S3 error decides by its status; no answer at all always may pass, except
// when the caller has given up.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if errors.Is(err, errUnacknowledged) {
		return true
	}
	if code := apiCode(err); code != "" {
		switch code {
		case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "BadDigest",
			"ConditionalRequestConflict", "OperationAborted": // S3: a 409 to a conditional PUT asks for another try
			return true
		}
	}
	switch status := httpStatus(err); {
	case status == http.StatusNotImplemented:
		return false
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return true
	case status >= 300:
		return false
	}
	return true
}

// apiCode is the S3 error code in err, or "".
func apiCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// httpStatus is the status of the answer in err, or 0 when there was none.
func httpStatus(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}
