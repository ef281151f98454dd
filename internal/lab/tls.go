package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// certificateLife is more than a lab lives.
const certificateLife = 24 * time.Hour

// certificate is what a server of a lab shows, in PEM files.
type certificate struct {
	cert, key string // of the server
	ca        string // of the authority that signed it, whose key nobody keeps
	authority *x509.CertPool
}

// certify makes an authority and a certificate of localhost into a folder of the lab.
func (l *Lab) certify(name string) (certificate, error) {
	folder, err := l.Folder(name, "tls")
	if err != nil {
		return certificate{}, err
	}
	c := certificate{cert: l.Path(name, "tls", "server.crt"), key: l.Path(name, "tls", "server.key"), ca: l.Path(name, "tls", "ca.crt")}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab " + name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife), KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	authorityKey, authorityErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serverKey, serverErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(authorityErr, serverErr); err != nil {
		return c, fault.New(fault.PathFailed, "make certificate in", folder, err)
	}
	authorityDER, authorityErr := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	serverDER, serverErr := x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), authorityKey)
	keyDER, keyErr := x509.MarshalPKCS8PrivateKey(serverKey)
	if err := errors.Join(authorityErr, serverErr, keyErr); err != nil {
		return c, fault.New(fault.PathFailed, "make certificate in", folder, err)
	}
	c.authority = x509.NewCertPool()
	c.authority.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}))
	for path, block := range map[string]*pem.Block{
		c.ca:   {Type: "CERTIFICATE", Bytes: authorityDER},
		c.cert: {Type: "CERTIFICATE", Bytes: serverDER},
		c.key:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := l.Write(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return c, err
		}
	}
	return c, nil
}
