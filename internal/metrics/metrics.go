package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
)

// Metrics are the metrics of one process.
type Metrics struct {
	registry *prometheus.Registry
	own      prometheus.Registerer // adds the system's name
	sdk      client.MetricsHandler
	log      *zap.Logger

	steps      *prometheus.HistogramVec
	moved      *prometheus.CounterVec
	failures   *prometheus.CounterVec
	recoveries *prometheus.CounterVec
	segments   *prometheus.GaugeVec
	lastRTA    *prometheus.GaugeVec
	lastEnd    *prometheus.GaugeVec
}

// New makes the metrics of a worker that protects a system.
func New(system string, log *zap.Logger) (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), log: log}
	m.own = prometheus.WrapRegistererWith(prometheus.Labels{"system": system}, m.registry)
	m.steps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "lifeboat_step_duration_seconds", Help: "How long attempts of steps took, by activity and how they ended: done, failed or cancelled.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 900, 1800, 3600, 7200},
	}, []string{"step", "ended"})
	m.moved = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lifeboat_moved_bytes_total", Help: "Bytes of source data that finished steps moved, by kind of component and direction: backup, verify, replicate or restore.",
	}, []string{"kind", "direction"})
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lifeboat_failures_total", Help: "Attempts of steps that failed, by activity and fault; those that are tried again count, too.",
	}, []string{"step", "fault"})
	m.recoveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lifeboat_recoveries_total", Help: "Recoveries and drills that this worker filed, by target and outcome: succeeded, failed or aborted.",
	}, []string{"target", "outcome"})
	m.segments = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lifeboat_wal_segments", Help: "WAL segments that the last check of the archive did not find, by state: late, again (pushed again), or lost.",
	}, []string{"component", "state"})
	m.lastRTA = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lifeboat_last_recovery_rta_seconds", Help: "Recovery time that the last recovery to a target achieved, from the disaster or the start to its end.",
	}, []string{"target"})
	m.lastEnd = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "lifeboat_last_recovery_timestamp_seconds", Help: "When the last recovery to a target succeeded, in Unix time.",
	}, []string{"target"})
	for _, one := range []prometheus.Collector{m.steps, m.moved, m.failures, m.recoveries, m.segments, m.lastRTA, m.lastEnd} {
		if err := m.own.Register(one); err != nil {
			return nil, fault.New(fault.Unsupported, "register metrics of", system, err)
		}
	}
	for _, one := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := m.registry.Register(one); err != nil {
			return nil, fault.New(fault.Unsupported, "register metrics of", "this process", err)
		}
	}
	return m, m.openSDK()
}

// openSDK makes the handler through which Temporal's SDK counts into the same
// registry, with buckets fit for seconds.
func (m *Metrics) openSDK() error {
	reader, err := exporter.New(exporter.WithRegisterer(m.registry), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	if err != nil {
		return fault.New(fault.Unsupported, "register metrics of", "Temporal's SDK", err)
	}
	seconds := metric.NewView(metric.Instrument{Kind: metric.InstrumentKindHistogram}, metric.Stream{Aggregation: metric.AggregationExplicitBucketHistogram{
		Boundaries: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
	}})
	m.sdk = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                metric.NewMeterProvider(metric.WithReader(reader), metric.WithView(seconds)).Meter("temporal-sdk-go"),
		OnError:              func(err error) { m.log.Warn("a metric of Temporal's SDK was not taken", zap.Error(err)) },
		UseMonotonicCounters: true,
	})
	return nil
}

// SDK is the handler for Temporal's SDK.
func (m *Metrics) SDK() client.MetricsHandler { return m.sdk }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	logged, err := zap.NewStdLogAt(m.log, zap.WarnLevel)
	options := promhttp.HandlerOpts{Registry: m.own, MaxRequestsInFlight: 4, Timeout: 30 * time.Second}
	if err == nil {
		options.ErrorLog = logged
	}
	return promhttp.HandlerFor(m.registry, options)
}
