package lab

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector takes traces over HTTP, as OpenTelemetry's own collector does, and keeps them.
type Collector struct {
	URL string // http://127.0.0.1:…

	mu       sync.Mutex
	spans    []*trace.Span
	services []string // of each span
	raw      []byte   // all that came in, uncompressed
	problem  error
}

// StartCollector starts a collector that ends with the test.
func StartCollector(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		if c.problem != nil {
			t.Errorf("the collector could not read what came in: %v", c.problem)
		}
	})
	c.URL = server.URL
	return c
}

func (c *Collector) take(r *http.Request) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if err != nil {
			c.problem = err
		}
	}()
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if from, err = gzip.NewReader(r.Body); err != nil {
			return err
		}
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	c.raw = append(c.raw, body...)
	for _, resource := range request.GetResourceSpans() {
		service := ""
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				service = attribute.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans, c.services = append(c.spans, span), append(c.services, service)
			}
		}
	}
	return nil
}

// Spans gives the spans that came in, and the service that made each.
func (c *Collector) Spans() (spans []*trace.Span, services []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans), slices.Clone(c.services)
}

// Raw gives all that came in, as it was sent.
func (c *Collector) Raw() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.raw)
}
