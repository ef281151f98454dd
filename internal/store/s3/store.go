package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"go.opentelemetry.io/otel/trace"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

var _ store.Store = (*Store)(nil)

// Config says where the bucket is and who asks.
type Config struct {
	Name      string // as configured: "primary"
	Bucket    string
	Region    string
	Prefix    string // every key lies under it; may be empty
	Endpoint  string // URL of the server; empty: AWS
	PathStyle bool   // bucket in the path instead of the host name
	AccessKey string // empty: the SDK's own chain (environment, profile, instance role)
	SecretKey string
	CACert    string // PEM file of a private authority; empty: the system's
	Retry     Retry
	Stall     time.Duration // how long a connection may be silent; default 30 s
	Tracer    trace.Tracer  // makes a span of each request; nil: none are made
}

// Retry bounds how one call is tried again.
type Retry struct {
	Attempts int           // tries in all; default 6
	Backoff  time.Duration // the first pause is at most this long; default 200 ms
	Longest  time.Duration // a pause never exceeds this; default 5 s
}

// String names the store; it never shows the credentials.
func (c Config) String() string {
	place := "s3://" + c.Bucket
	if prefix := strings.Trim(c.Prefix, "/"); prefix != "" {
		place += "/" + prefix
	}
	return c.Name + " (" + place + " in " + c.Region + ")"
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// Store is a bucket and prefix on an S3 server.
type Store struct {
	name   string
	bucket string
	prefix string // "" or ends with a slash
	secure bool   // TLS at every call
	tries  int    // of a body that ends early
	retry  *retryer
	client *awss3.Client
	http   *http.Transport
}

// New makes a Store. Nothing is sent: a wrong address shows at the first call.
func New(ctx context.Context, c Config) (*Store, error) {
	if c.Name == "" || c.Bucket == "" || c.Region == "" {
		return nil, fault.Newf(fault.ConfigInvalid, "open store", c.String(), "name, bucket and region are needed")
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return nil, fault.Newf(fault.ConfigInvalid, "open store", c.String(), "access key and secret key go together")
	}
	if c.Stall <= 0 {
		c.Stall = 30 * time.Second
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	provider, err := provider(ctx, c)
	if err != nil {
		return nil, err
	}
	retry := newRetryer(c.Retry)
	options := awss3.Options{
		Region:                     c.Region,
		Credentials:                provider,
		UsePathStyle:               c.PathStyle,
		HTTPClient:                 &http.Client{Transport: transport, CheckRedirect: noRedirect},
		Retryer:                    retry,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if c.Endpoint != "" {
		options.BaseEndpoint = aws.String(c.Endpoint)
	}
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	if c.Tracer != nil {
		options.APIOptions = append(options.APIOptions, (&tracing{tracer: c.Tracer, prefix: prefix}).addTo)
	}
	return &Store{name: c.String(), prefix: prefix, secure: !strings.HasPrefix(strings.ToLower(c.Endpoint), "http:"), bucket: c.Bucket, tries: retry.MaxAttempts(), retry: retry, client: awss3.New(options), http: transport}, nil
}

// noRedirect leaves a redirect to the SDK, as an error: a body would follow it to
// wherever it leads, without TLS perhaps.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Name identifies the store: "primary (s3://frende-db-backups in us-east-1)".
func (s *Store) Name() string { return s.name }

// Close ends idle connections. The store stays usable.
func (s *Store) Close() { s.http.CloseIdleConnections() }

func provider(ctx context.Context, c Config) (aws.CredentialsProvider, error) {
	if c.AccessKey != "" {
		return credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, ""), nil
	}
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.Region), config.WithLogger(logging.Nop{})) // what fails is returned
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, "load credentials for", c.String(), err)
	}
	return loaded.Credentials, nil
}

// newTransport is made for many objects of some MiB at once: one connection
// each, kept for the next, with large buffers and no compression of its own.
func newTransport(c Config) (*http.Transport, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CACert != "" {
		pem, err := os.ReadFile(c.CACert)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "read authority for", c.String(), err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Newf(fault.ConfigInvalid, "read authority for", c.String(), "%s holds no PEM certificate", c.CACert)
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watchedConn{Conn: conn, stall: c.Stall}, nil
		},
		TLSClientConfig:       trust,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       c.Stall,
		ReadBufferSize:        128 << 10,
		WriteBufferSize:       128 << 10,
		DisableCompression:    true,
	}, nil
}

// watchedConn fails with a timeout when no byte moves for the stall time in
// either direction. A write moves the deadline of a waiting read, too, so that a
// slow upload is not taken for a silent server.
type watchedConn struct {
	net.Conn
	stall time.Duration
}

func (w *watchedConn) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(w.stall)); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

func (w *watchedConn) Write(p []byte) (int, error) {
	if err := w.SetDeadline(time.Now().Add(w.stall)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}
