package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Files makes TLS of three PEM files: a certificate, perhaps with those between it and its authority behind it; its private key; and the
// authorities that sign the certificates of others. It reads them again when they have changed.
func Files(cert, key, ca string) (*TLS, error) {
	f := &files{names: [3]string{cert, key, ca}, looked: time.Now()}
	texts, err := f.read()
	if err != nil {
		return nil, err
	}
	i, err := f.identity(texts, time.Now())
	if err != nil {
		return nil, err
	}
	t := &TLS{files: f}
	f.tried = texts
	t.used.Store(i)
	return t, nil
}

const (
	lookEvery = time.Second            // handshakes between use what is there
	patience  = 100 * time.Millisecond // of a handshake, for a disk that hangs
	soon      = 7 * 24 * time.Hour     // a certificate expires, or within a quarter of its time if that is less
)

// files are where an identity comes from.
type files struct {
	names [3]string // certificate, key, authorities

	mu     sync.Mutex // held by whoever looks; guards what follows
	looked time.Time
	tried  [3][]byte // the contents that were taken over, or could not be
	failed bool      // they could not be
	server bool      // whose they are must be able to be one: ForServer was asked
	said   string    // what was logged last
}

// look takes over what has changed, if the last look was so long ago. Handshakes that come meanwhile do not wait.
func (f *files) look(t *TLS, pause time.Duration) {
	if !f.mu.TryLock() {
		return
	}
	if time.Since(f.looked) < pause {
		f.mu.Unlock()
		return
	}
	done := make(chan struct{})
	go func() { // ends when the disk has answered
		defer close(done)
		defer f.mu.Unlock()
		f.update(t)
		f.looked = time.Now()
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
}

// update does it. The caller holds mu.
func (f *files) update(t *TLS) {
	texts, err := f.read()
	same := err == nil && slices.EqualFunc(texts[:], f.tried[:], bytes.Equal)
	if err == nil && (!same || f.failed) {
		var i *identity
		if i, err = f.identity(texts, time.Now()); err == nil && f.server {
			err = i.forServer()
		}
		f.tried, f.failed = texts, err != nil
		switch {
		case err == nil:
			t.used.Store(i)
			t.logger().Info("secure: new certificates are in use", "certificate", f.names[0], "expires", i.leaf.NotAfter.UTC())
			f.said = ""
			return
		case !same:
			return // files that are half written are whole when they are looked at again
		}
	}
	if err != nil {
		f.say(t, "secure: the new certificates can't be used, and the old ones stay in use: put the files right", "err", err)
		return
	}
	leaf := t.used.Load().leaf
	left := time.Until(leaf.NotAfter)
	if left >= min(soon, leaf.NotAfter.Sub(leaf.NotBefore)/4) {
		f.said = ""
		return
	}
	event := "secure: the certificate expires soon: put a new one in its place"
	if left < 0 {
		event = "secure: the certificate has expired, and others refuse it: put a new one in its place"
	}
	f.say(t, event, "certificate", f.names[0], "expires", leaf.NotAfter.UTC())
}

// say logs what was not logged last.
func (f *files) say(t *TLS, event string, facts ...any) {
	if said := fmt.Sprint(event, facts); said != f.said {
		f.said = said
		t.logger().Warn(event, facts...)
	}
}

// maxFile bounds a file, in bytes: what is larger is something else.
const maxFile = 1 << 20

func (f *files) read() (texts [3][]byte, err error) {
	for i, name := range f.names {
		if texts[i], err = readFile(name); err != nil {
			return texts, fmt.Errorf("secure: %w", err)
		}
	}
	return texts, nil
}

// readFile also bounds what has no size, such as a device.
func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes: it is no certificate", name, maxFile)
	}
	return text, err
}

// identity makes one of the files' contents, if all is well at that time.
func (f *files) identity(texts [3][]byte, now time.Time) (*identity, error) {
	if _, err := certificates(texts[0]); err != nil {
		return nil, fmt.Errorf("secure: the certificate %s: %w", f.names[0], err)
	}
	own, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("secure: the certificate %s and the key %s: %w", f.names[0], f.names[1], err)
	}
	switch leaf := own.Leaf; {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("secure: the certificate %s has expired, on %s by this machine's clock", f.names[0], leaf.NotAfter.UTC())
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("secure: the certificate %s is not valid before %s by this machine's clock", f.names[0], leaf.NotBefore.UTC())
	case leaf.IsCA:
		return nil, fmt.Errorf("secure: the certificate %s is an authority's, which could sign others: it needs the basic constraint CA:FALSE", f.names[0])
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return nil, fmt.Errorf("secure: the certificate %s lacks the extended key usage clientAuth, which clients and servers have", f.names[0])
	}
	authorities, err := certificates(texts[2])
	if err != nil {
		return nil, fmt.Errorf("secure: the authorities %s: %w", f.names[2], err)
	}
	pool := x509.NewCertPool()
	for _, a := range authorities {
		if !a.IsCA {
			return nil, fmt.Errorf("secure: the authorities %s: %q is none, it may not sign", f.names[2], a.Subject)
		}
		pool.AddCert(a)
	}
	i := newIdentity(
		&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientCAs: pool},
		&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool,
			// Also where the server's list of authorities lacks ours: its refusal then tells more than that there is no certificate.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }})
	i.leaf = own.Leaf
	return i, nil
}

// certificates reads all certificates of a PEM file. NB: x509.CertPool passes over what it can't read, such as the half of one.
func certificates(text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %s in it", strings.ToLower(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		return nil, errors.New("its last part is cut off")
	case len(all) == 0:
		return nil, errors.New("there is no certificate in it")
	}
	return all, nil
}
