package lab

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// S3Options say how an S3 server is set up.
type S3Options struct {
	Name   string // default "s3"; names its service, folder and log
	Region string // default us-east-1
	TLS    bool   // serves https on localhost, with a certificate of an authority of its own
	Users  bool   // keeps users besides its root; see NewUser
}

// S3 is an S3 server of a lab: versitygw over a directory, with versioning.
type S3 struct {
	*Service
	Endpoint  string // http://host:port, or https; path-style addressing
	Region    string
	AccessKey string
	SecretKey string
	Dir       string // an object is the file Dir/<bucket>/<key>
	CACert    string // PEM file of the authority behind https; else empty

	authority *x509.CertPool // nil: http
}

// S3 starts a new S3 server without buckets.
func (l *Lab) S3(ctx context.Context, o S3Options) (*S3, error) {
	if o.Name == "" {
		o.Name = "s3"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	program, err := find("versitygw")
	if err == nil {
		program, err = l.Account.usable(program)
	}
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	data, err := l.Folder(o.Name, "data")
	if err != nil {
		return nil, err
	}
	versions, err := l.Folder(o.Name, "versions")
	if err != nil {
		return nil, err
	}
	s := &S3{Endpoint: "http://" + loopback(port), Region: o.Region, AccessKey: "lab" + rand.Text()[:13], SecretKey: rand.Text(), Dir: data}
	// Connections are kept, as those of S3 are; this server closes each after one answer unless it is told.
	args := []string{program, "--port", loopback(port), "--region", o.Region, "--quiet", "--keep-alive", "--health", "/healthz"}
	if o.Users {
		accounts, err := l.Folder(o.Name, "accounts")
		if err != nil {
			return nil, err
		}
		args = append(args, "--iam-dir", accounts)
	}
	args = append(args, "posix", "--versioning-dir", versions)
	if !keepsAttributes(data) {
		sidecar, err := l.Folder(o.Name, "attributes")
		if err != nil {
			return nil, err
		}
		args = append(args, "--sidecar", sidecar)
	}
	ready := s.Endpoint + "/healthz"
	if o.TLS {
		certificate, err := l.certify(o.Name)
		if err != nil {
			return nil, err
		}
		s.CACert, s.authority = certificate.ca, certificate.authority
		s.Endpoint, ready = fmt.Sprintf("https://localhost:%d", port), "tcp://"+loopback(port)
		args = slices.Insert(args, 1, "--cert", certificate.cert, "--key", certificate.key)
	}
	s.Service, err = l.Define(Program{
		Name: o.Name, Args: append(args, data), Ready: ready,
		Env: []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
	})
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// keepsAttributes says whether the file system stores extended attributes.
func keepsAttributes(dir string) bool {
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return false
	}
	err = unix.Fsetxattr(int(probe.Fd()), "user.lab", []byte("1"), 0)
	return errors.Join(err, probe.Close(), os.Remove(probe.Name())) == nil
}

// Client gives a client of the server with its root's rights.
func (s *S3) Client() *s3.Client {
	o := s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		UsePathStyle: true,
	}
	if s.authority != nil {
		o.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.authority, MinVersion: tls.VersionTLS12}}}
	}
	return s3.New(o)
}

// CreateBucket makes a bucket with versioning on.
func (s *S3) CreateBucket(ctx context.Context, name string) error {
	api := s.Client()
	if _, err := api.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		return fault.New(fault.StorageUnavailable, "create bucket", name, err)
	}
	_, err := api.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String(name), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		return fault.New(fault.StorageUnavailable, "turn versioning on for bucket", name, err)
	}
	return nil
}
