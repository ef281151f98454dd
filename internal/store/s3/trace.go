package s3

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracing makes a span of each request, its repetitions included. It ends with
// the answer's headers: the body is read afterwards. Of the key it shows the
// first folder alone, and of an error its code.
type tracing struct {
	tracer trace.Tracer
	prefix string // of the store: not part of what is shown
}

func (t *tracing) ID() string { return "LifeboatTracing" }

func (t *tracing) addTo(stack *middleware.Stack) error {
	return stack.Initialize.Add(t, middleware.Before)
}

func (t *tracing) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	operation := awsmiddleware.GetOperationName(ctx)
	bucket, key := place(in.Parameters)
	folder, _, _ := strings.Cut(strings.TrimPrefix(key, t.prefix), "/")
	ctx, span := t.tracer.Start(ctx, "S3 "+operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("rpc.system", "aws-api"), attribute.String("rpc.method", "S3/"+operation),
		attribute.String("aws.s3.bucket", bucket), attribute.String("lifeboat.s3.folder", folder),
	))
	defer span.End()
	out, metadata, err := next.HandleInitialize(ctx, in)
	if answer, ok := awsmiddleware.GetRawResponse(metadata).(*smithyhttp.Response); ok && answer != nil {
		span.SetAttributes(attribute.Int("http.response.status_code", answer.StatusCode))
	}
	if attempts, ok := retry.GetAttemptResults(metadata); ok {
		span.SetAttributes(attribute.Int("lifeboat.s3.attempts", len(attempts.Results)))
	}
	if err != nil {
		code := "unanswered"
		if answered, ok := errors.AsType[smithy.APIError](err); ok {
			code = answered.ErrorCode()
		}
		span.SetAttributes(attribute.String("error.type", code))
		span.SetStatus(codes.Error, code)
	}
	return out, metadata, err
}

// place gives the bucket and the key, or the prefix of a listing.
func place(parameters any) (bucket, key string) {
	switch in := parameters.(type) {
	case *awss3.PutObjectInput:
		return aws.ToString(in.Bucket), aws.ToString(in.Key)
	case *awss3.GetObjectInput:
		return aws.ToString(in.Bucket), aws.ToString(in.Key)
	case *awss3.HeadObjectInput:
		return aws.ToString(in.Bucket), aws.ToString(in.Key)
	case *awss3.DeleteObjectInput:
		return aws.ToString(in.Bucket), aws.ToString(in.Key)
	case *awss3.ListObjectsV2Input:
		return aws.ToString(in.Bucket), aws.ToString(in.Prefix)
	case *awss3.HeadBucketInput:
		return aws.ToString(in.Bucket), ""
	default:
		return "", ""
	}
}
