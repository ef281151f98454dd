// Package temporal is how Lifeboat speaks to a Temporal server: the client and
// its options, the faults it can meet, and the interceptor that turns faults
// into failures a person can read.
package temporal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
)

// Options are what a process wants of its connection.
type Options struct {
	Logger  *zap.Logger
	Metrics client.MetricsHandler         // nil: none
	Traces  interceptor.ClientInterceptor // nil: none; a worker traces through it, too

	Payloads *Payloads // nil: nothing is sealed, and nothing sealed can be read
}

// Client is a connection, and how to read what was stored through it: a schedule
// is described with its input and memo as they are stored. A worker is made with
// the Client inside, since the SDK knows only its own.
type Client struct {
	client.Client

	payloads *Payloads
}

// NewClient makes a Client of a connection whose payloads are those given; nil:
// nothing is sealed.
func NewClient(connected client.Client, p *Payloads) Client {
	if p == nil {
		p = inTheClear()
	}
	return Client{Client: connected, payloads: p}
}

// Dial connects to the server that the TEMPORAL_* environment variables or the
// temporal CLI's configuration file name, 127.0.0.1:7233 without them.
// TemporalUnavailable when it does not answer.
func Dial(ctx context.Context, o Options) (Client, error) {
	options, err := settings()
	if err != nil {
		return Client{}, err
	}
	options.Logger, options.MetricsHandler = Logger(o.Logger), o.Metrics
	if o.Payloads == nil {
		o.Payloads = inTheClear()
	}
	o.Payloads.apply(&options)
	if o.Traces != nil {
		options.Interceptors = append(options.Interceptors, o.Traces)
	}
	connected, err := client.DialContext(ctx, options)
	if err != nil {
		return Client{}, fault.New(fault.TemporalUnavailable, "connect to Temporal at", address(options), errors.Unwrap(err))
	}
	return NewClient(connected, o.Payloads), nil
}

// Where gives the server and the namespace that Dial connects to.
func Where() (server, namespace string, err error) {
	options, err := settings()
	if err != nil {
		return "", "", err
	}
	return address(options), cmp.Or(options.Namespace, client.DefaultNamespace), nil
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func settings() (client.Options, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return options, fault.New(fault.ConfigInvalid, "read Temporal settings", "TEMPORAL_*", err).
			WithHint("see: temporal env, and the TEMPORAL_* variables of the temporal CLI")
	}
	if err := checkAddress(options.HostPort); err != nil {
		return options, fault.New(fault.ConfigInvalid, "read address of Temporal", options.HostPort, err).
			WithHint("write host:port into TEMPORAL_ADDRESS, or the temporal CLI's configuration file, as in 127.0.0.1:7233")
	}
	return options, nil
}

// checkAddress refuses what no server can be found by: gRPC would only say that it
// has nothing to choose from. A target with a scheme, "dns:///host:port", is gRPC's own.
func checkAddress(address string) error {
	if address == "" || strings.Contains(address, "://") {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("it is not host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q is no port", port)
	}
	return nil
}

func address(options client.Options) string {
	if options.HostPort == "" {
		return client.DefaultHostPort
	}
	return options.HostPort
}

// Named turns the SDK's own errors into faults: a workflow or namespace that does not exist, a run
// that runs already, one that somebody cancelled or terminated, a server that
// does not answer. Others stay as they are.
func Named(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return fault.New(fault.RecoveryRunning, op, subject, nil).
			WithHint("see it with: lifeboat watch %s; or end it first with: lifeboat abort %s", subject, subject)
	}
	if missing, ok := errors.AsType[*serviceerror.NamespaceNotFound](err); ok {
		return fault.New(fault.NameUnknown, "find namespace of Temporal", missing.Namespace, nil).
			WithHint("correct TEMPORAL_NAMESPACE; see what there is with: temporal operator namespace list")
	}
	if missing, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		if strings.Contains(missing.Message, "already completed") {
			return fault.Newf(fault.RunUnknown, op, subject, "the last one has ended").WithHint("see how it ended with: lifeboat report %s", subject)
		}
		return fault.New(fault.RunUnknown, op, subject, nil)
	}
	switch {
	case is[*temporal.CanceledError](err):
		return fault.Newf(fault.Aborted, op, subject, "it was cancelled in Temporal").WithHint("see what it had done with: lifeboat report %s", subject)
	case is[*temporal.TerminatedError](err):
		return fault.Newf(fault.Aborted, op, subject, "it was terminated in Temporal, and cleared nothing up").
			WithHint("see what it had done in its history: temporal workflow show -w %s; what it left goes with: lifeboat cleanup", subject)
	}
	unavailable, ok := errors.AsType[*serviceerror.Unavailable](err)
	if ok {
		return fault.New(fault.TemporalUnavailable, op, subject, errors.New(unavailable.Message))
	}
	if _, ok := errors.AsType[*serviceerror.DeadlineExceeded](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.TemporalUnavailable, op, subject, err)
	}
	return err
}
