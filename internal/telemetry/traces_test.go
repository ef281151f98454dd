package telemetry_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
)

func environment(pairs ...string) system.Env {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestNoSpanHoldsASecret(t *testing.T) {
	collector := lab.StartCollector(t)
	secrets := telemetry.NewSecrets()
	secrets.AddEnvironment(environment("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=frende,authorization="+cachePassword))
	traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{URL: collector.URL, Service: "lifeboat-worker", System: "frende", Env: environment(), Secrets: secrets})
	require.NoError(t, err)
	_, span := traces.Tracer().Start(t.Context(), "RunActivity:postgres.Restore")
	secrets.Add([]byte("postgres://backup:" + secretKey + "@db/frende")) // known only once the span has begun
	span.SetAttributes(attribute.String("dsn", "postgres://backup:"+secretKey+"@db/frende"), attribute.StringSlice("args", []string{"-p", cachePassword}), attribute.Int("n", 7))
	span.AddEvent("retry with password=" + databasePassword)
	span.RecordError(errors.New("dial with " + secretKey))
	span.SetStatus(codes.Error, "AKIAIOSFODNN7EXAMPLE: "+secretKey)
	span.End()
	require.NoError(t, traces.Close(t.Context()))

	spans, services := collector.Spans()
	require.Len(t, spans, 1)
	require.Equal(t, []string{"lifeboat-worker"}, services)
	require.Len(t, spans[0].GetAttributes(), 3)
	require.Len(t, spans[0].GetEvents(), 2)
	for _, secret := range []string{databasePassword[:8], cachePassword, secretKey, accessKey} {
		require.NotContains(t, string(collector.Raw()), secret)
	}
	require.Contains(t, string(collector.Raw()), "dial with [redacted]")
}

func TestTracesAreOffUntilTheConfigurationOrTheEnvironmentNamesAPlace(t *testing.T) {
	for name, c := range map[string]struct {
		url string
		env system.Env
		on  bool
	}{
		"nothing is said":              {env: environment()},
		"the configuration names it":   {url: "http://127.0.0.1:4318", env: environment(), on: true},
		"the environment names it":     {env: environment("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), on: true},
		"the environment forbids them": {url: "http://127.0.0.1:4318", env: environment("OTEL_SDK_DISABLED", "true")},
	} {
		traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{URL: c.url, Service: "lifeboat", Env: c.env, Secrets: telemetry.NewSecrets()})
		require.NoError(t, err, name)
		require.Equal(t, c.on, traces != nil, name)
		if traces != nil {
			require.NoError(t, traces.Close(t.Context()), name)
		}
	}
}

func TestACollectorThatIsGoneHoldsNobodyUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{URL: "http://" + listener.Addr().String(), Service: "lifeboat", Env: environment(), Secrets: telemetry.NewSecrets()})
	require.NoError(t, err)
	_, span := traces.Tracer().Start(t.Context(), "StartWorkflow:RecoverSystem")
	span.End()
	began := time.Now()
	_ = traces.Close(t.Context()) // whether the last spans arrived is another matter
	require.Less(t, time.Since(began), 30*time.Second)
}
