package s3_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
)

func TestEachRequestIsASpanThatShowsNoMoreThanAFolder(t *testing.T) {
	server := lab.StartS3(t)
	server.NewBucket(t, "traced")
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	opened, err := s3.New(t.Context(), s3.Config{
		Name: "primary", Bucket: "traced", Region: "us-east-1", Prefix: "of/frende", Endpoint: server.Endpoint, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey, Tracer: tracer,
	})
	require.NoError(t, err)
	ctx, parent := tracer.Start(t.Context(), "a step")
	const key = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base/manifest"
	_, err = opened.Put(ctx, key, []byte("manifest"), store.PutOptions{IfNoneMatch: true})
	require.NoError(t, err)
	body, _, err := opened.Get(ctx, key)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	_, err = opened.Head(ctx, "wal/main/missing")
	require.True(t, fault.Has(err, fault.ObjectMissing), "%v", err)
	for _, err := range opened.List(ctx, "database-backups/", store.ListOptions{}) {
		require.NoError(t, err)
	}
	require.NoError(t, opened.Delete(ctx, key, ""))
	parent.End()

	var told []string
	for _, span := range spans.Ended() {
		if span.Name() == "a step" {
			continue
		}
		require.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID(), span.Name())
		attributes := map[string]string{}
		for _, one := range span.Attributes() {
			attributes[string(one.Key)] = one.Value.String()
			require.NotContains(t, one.Value.String(), "2024")
			require.NotContains(t, one.Value.String(), server.SecretKey)
		}
		require.Equal(t, "traced", attributes["aws.s3.bucket"])
		require.Equal(t, "1", attributes["lifeboat.s3.attempts"])
		told = append(told, fmt.Sprint(span.Name(), " ", attributes["lifeboat.s3.folder"], " ", attributes["http.response.status_code"], " ", span.Status().Code == codes.Error))
	}
	require.Equal(t, []string{
		"S3 PutObject database-backups 200 false", "S3 GetObject database-backups 200 false",
		"S3 HeadObject wal 404 true", "S3 HeadBucket  200 false",
		"S3 ListObjectsV2 database-backups 200 false", "S3 DeleteObject database-backups 204 false",
	}, told)
}
