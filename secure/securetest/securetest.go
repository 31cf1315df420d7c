// Package securetest makes certificates for tests of what runs over package secure.
package securetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/raftpico/go/secure"
)

// T is what is needed of a test; a *testing.T is one.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	TempDir() string
}

// Authority signs certificates.
type Authority struct {
	File string // its own certificate, PEM; its key is beside it, in ca.key

	t    T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Files are a certificate and its key, PEM.
type Files struct{ Cert, Key string }

// Request says what a certificate is to be. The zero value is a client's.
type Request struct {
	Server   bool          // serverAuth, too
	NoClient bool          // no clientAuth
	Bare     bool          // no extended key usages at all
	Hosts    []string      // names and IP addresses
	Unit     string        // organizational unit
	Expires  time.Duration // from now; 0: an hour; below 0: it has expired
}

// New makes an authority. Its files are in a folder of the test's.
func New(t T, name string) *Authority {
	t.Helper()
	a := &Authority{t: t}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(template)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("securetest: %v", err)
	}
	a.File = filepath.Join(t.TempDir(), "ca.crt")
	a.write(a.File, "CERTIFICATE", der)
	a.writeKey(filepath.Join(filepath.Dir(a.File), "ca.key"), a.key)
	return a
}

// Issue makes a certificate, in new files.
func (a *Authority) Issue(r Request) Files {
	a.t.Helper()
	dir := a.t.TempDir()
	f := Files{filepath.Join(dir, "it.crt"), filepath.Join(dir, "it.key")}
	a.Renew(f, r)
	return f
}

// Renew makes a certificate in place of the one that is in files, key first.
func (a *Authority) Renew(f Files, r Request) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if r.Expires != 0 {
		template.NotAfter = time.Now().Add(r.Expires)
	}
	if r.Unit != "" {
		template.Subject.OrganizationalUnit = []string{r.Unit}
	}
	if r.NoClient {
		template.ExtKeyUsage = nil
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Bare {
		template.ExtKeyUsage = nil
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, key := a.sign(template)
	a.writeKey(f.Key, key)
	a.write(f.Cert, "CERTIFICATE", der)
}

// TLS is what a server or client has whose certificate the authority makes, and who trusts nobody else's.
func (a *Authority) TLS(r Request) *secure.TLS {
	a.t.Helper()
	f := a.Issue(r)
	t, err := secure.Files(f.Cert, f.Key, a.File)
	if err != nil {
		a.t.Fatalf("securetest: %v", err)
	}
	return t
}

// sign makes a key and a certificate of it. An authority that has no certificate yet signs its own.
func (a *Authority) sign(template *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatalf("securetest: %v", err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		a.t.Fatalf("securetest: %v", err)
	}
	return der, key
}

func (a *Authority) writeKey(name string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatalf("securetest: %v", err)
	}
	a.write(name, "PRIVATE KEY", private)
}

func (a *Authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatalf("securetest: %v", err)
	}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // it never fails (crypto/rand)
	}
	return n
}
