package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// unreachable names at which step on the way to a server a connection failed:
// its name, its port, or the trust in who answers there.
func unreachable(err error, host, port string) (what, mend string) {
	address := net.JoinHostPort(host, port)
	if unresolved, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the name %s does not resolve: %s", unresolved.Name, unresolved.Err), "getent hosts " + host
	}
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	if unverified || unknown {
		return "its certificate is not trusted: " + innermost(err), "openssl s_client -connect " + address + " </dev/null\nset ca_cert of the store to the authority that signed it"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "no TLS is spoken there: " + innermost(err), "write http:// instead of https:// as endpoint, or correct its port"
	}
	if dialed, ok := errors.AsType[*net.OpError](err); ok && dialed.Op == "dial" {
		return fmt.Sprintf("no connection to %s: %s", address, dialed.Err), "nc -vz " + host + " " + port
	}
	if strings.Contains(err.Error(), "credentials") { // the SDK's own chain found none: nothing was sent
		return told(err), "set access_key and secret_key of the store, or give this host AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
	}
	return told(err), "nc -vz " + host + " " + port
}

func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// endpointOf is where a store's server listens.
func endpointOf(endpoint, region string) (host, port string) {
	parsed, err := url.Parse(endpoint)
	if endpoint == "" || err != nil {
		return "s3." + region + ".amazonaws.com", "443"
	}
	if port = parsed.Port(); port == "" {
		port = "443"
		if parsed.Scheme == "http" {
			port = "80"
		}
	}
	return parsed.Hostname(), port
}
