package main

import (
	"context"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/metrics"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/temporal"
)

// observed is what a worker shows of itself besides its log. What the
// configuration does not ask for is nil.
type observed struct {
	metrics *metrics.Metrics
	traces  *telemetry.Traces
}

// observe opens what the configuration asks for.
func observe(ctx context.Context, configured *system.System, logger *zap.Logger, secrets *telemetry.Secrets) (observed, error) {
	var o observed
	var err error
	if configured.Telemetry.Metrics != "" {
		if o.metrics, err = metrics.New(configured.Name, logger); err != nil {
			return o, err
		}
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("traces are not taken", zap.Error(err)) }))
	o.traces, err = telemetry.OpenTraces(ctx, telemetry.TracesConfig{
		URL: configured.Telemetry.Traces, Service: "lifeboat-worker", System: configured.Name, Env: os.LookupEnv, Secrets: secrets,
	})
	return o, err
}

// options are those of the worker's connection.
func (o observed) options(logger *zap.Logger) (temporal.Options, error) {
	options := temporal.Options{Logger: logger, Metrics: o.sdk()}
	var err error
	if o.traces != nil {
		options.Traces, err = o.traces.Interceptor()
	}
	return options, err
}

// tracer makes the spans of requests to stores; nil: none.
func (o observed) tracer() trace.Tracer {
	if o.traces == nil {
		return nil
	}
	return o.traces.Tracer()
}

// close sends what has not been sent.
func (o observed) close(ctx context.Context, logger *zap.Logger) {
	if o.traces == nil {
		return
	}
	if err := o.traces.Close(ctx); err != nil {
		logger.Warn("the last traces were not taken", zap.Error(err))
	}
}

// sdk is where Temporal's SDK counts; nil: nowhere.
func (o observed) sdk() client.MetricsHandler {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.SDK()
}

// interceptors see every attempt of every step, inside of what turns faults into failures.
func (o observed) interceptors() []interceptor.WorkerInterceptor {
	if o.metrics == nil {
		return nil
	}
	return []interceptor.WorkerInterceptor{o.metrics.Interceptor()}
}

// serve shows it until ctx ends.
func (o observed) serve(ctx context.Context, parts *assembly.Assembly, configured *system.System, configPath, host string, logger *zap.Logger) error {
	if o.metrics == nil {
		return nil
	}
	look := func(ctx context.Context) (system.System, status.Status, error) {
		s, err := load(configPath)
		if err != nil {
			return s, status.Status{}, err
		}
		return s, status.Look(ctx, status.Deps{Vault: parts.Vault, Ledger: parts.Ledger, Limit: metrics.StageTime}, s), nil
	}
	if err := o.metrics.Stand(look, time.Now); err != nil {
		return err
	}
	go o.metrics.Serve(ctx, configured.Telemetry.Metrics)
	go o.remember(ctx, parts, *configured, host, logger)
	return nil
}

// rememberTime bounds the search for the last recovery, which may walk the whole ledger.
const rememberTime = time.Minute

// remember finds the last recovery on the ledger, so that a worker that was
// started anew still shows it.
func (o observed) remember(ctx context.Context, parts *assembly.Assembly, s system.System, host string, logger *zap.Logger) {
	ctx, cancel := context.WithTimeout(ctx, rememberTime)
	defer cancel()
	last, err := lastRecovery(ctx, parts, s, host)
	if err != nil && !fault.Has(err, fault.RunUnknown) {
		logger.Warn("the last recovery is not known", zap.Error(err))
		return
	}
	o.metrics.Remember(last)
}

func lastRecovery(ctx context.Context, parts *assembly.Assembly, s system.System, host string) (records.LastRecovery, error) {
	opened, err := parts.Ledger(ctx, s, host)
	if err != nil {
		return records.LastRecovery{}, err
	}
	entry, err := opened.Find(ctx, records.KindRun, "")
	if err != nil {
		return records.LastRecovery{}, err
	}
	var last records.LastRecovery
	return last, entry.Decode(&last)
}
