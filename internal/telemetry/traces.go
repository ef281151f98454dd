package telemetry

import (
	"context"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// scope names who made a span.
const scope = "github.com/frende/lifeboat"

// TracesConfig says where spans go.
type TracesConfig struct {
	URL     string // where OTLP over HTTP is taken; "": where OTEL_EXPORTER_OTLP_ENDPOINT says
	Service string // service.name, unless OTEL_SERVICE_NAME says another
	System  string // the protected system
	Env     system.Env
	Secrets *Secrets // what no span may hold
}

// Traces sends the spans of a process. Sampling, headers, timeouts and
// attributes are those of the standard OTEL_* variables.
type Traces struct{ provider *sdktrace.TracerProvider }

// OpenTraces makes the Traces of a process; nil when neither the configuration
// nor the environment names a place for them. Nothing is sent yet: a place that
// does not answer shows in OpenTelemetry's error handler.
func OpenTraces(ctx context.Context, c TracesConfig) (*Traces, error) {
	if !wanted(c) {
		return nil, nil
	}
	var options []otlptracehttp.Option
	if c.URL != "" {
		place, err := url.Parse(c.URL)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read", "telemetry.traces", err)
		}
		if strings.Trim(place.Path, "/") == "" {
			place.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(place.String()))
	}
	sender, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, "open traces to", c.URL, err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", c.Service), attribute.String("lifeboat.system", c.System)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, "read", "OTEL_RESOURCE_ATTRIBUTES", err)
	}
	return &Traces{provider: sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithBatcher(&cleanExporter{SpanExporter: sender, secrets: c.Secrets}),
	)}, nil
}

func wanted(c TracesConfig) bool {
	if disabled, _ := c.Env("OTEL_SDK_DISABLED"); strings.EqualFold(disabled, "true") {
		return false
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if value, _ := c.Env(name); value != "" {
			return true
		}
	}
	return c.URL != ""
}

// Tracer makes spans.
func (t *Traces) Tracer() trace.Tracer { return t.provider.Tracer(scope) }

// Interceptor makes the spans of workflows and activities, and carries them from
// the command that starts a run into its last activity. Queries make none: a
// watched recovery is asked every second.
func (t *Traces) Interceptor() (interceptor.Interceptor, error) {
	made, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer: t.Tracer(), DisableQueryTracing: true, DisableBaggage: true, AllowInvalidParentSpans: true,
	})
	if err != nil {
		return nil, fault.New(fault.Unsupported, "trace", "Temporal", err)
	}
	return made, nil
}

// closeTime is how long the last spans may take: nobody waits for a collector that is gone.
const closeTime = 2 * time.Second

// Close sends what has not been sent.
func (t *Traces) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// cleanExporter takes secrets out of spans on their way out.
type cleanExporter struct {
	sdktrace.SpanExporter
	secrets *Secrets
}

func (e *cleanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, span := range spans {
		clean[i] = cleanSpan{ReadOnlySpan: span, secrets: e.secrets}
	}
	return e.SpanExporter.ExportSpans(ctx, clean)
}

// cleanSpan is a span without secrets, in whatever holds text.
type cleanSpan struct {
	sdktrace.ReadOnlySpan
	secrets *Secrets
}

func (s cleanSpan) Name() string { return s.secrets.Redact(s.ReadOnlySpan.Name()) }

func (s cleanSpan) Attributes() []attribute.KeyValue { return s.clean(s.ReadOnlySpan.Attributes()) }

func (s cleanSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = s.secrets.Redact(status.Description)
	return status
}

func (s cleanSpan) Events() []sdktrace.Event {
	var clean []sdktrace.Event
	for _, event := range s.ReadOnlySpan.Events() {
		event.Name = s.secrets.Redact(event.Name)
		event.Attributes = s.clean(event.Attributes)
		clean = append(clean, event)
	}
	return clean
}

func (s cleanSpan) clean(all []attribute.KeyValue) []attribute.KeyValue {
	clean := make([]attribute.KeyValue, len(all))
	for i, one := range all {
		clean[i] = one
		switch one.Value.Type() {
		case attribute.STRING:
			clean[i].Value = attribute.StringValue(s.secrets.Redact(one.Value.AsString()))
		case attribute.STRINGSLICE:
			texts := one.Value.AsStringSlice()
			for j := range texts {
				texts[j] = s.secrets.Redact(texts[j])
			}
			clean[i].Value = attribute.StringSliceValue(texts)
		}
	}
	return clean
}
