package secure_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/secure"
	"github.com/raftpico/go/secure/securetest"
)

// configs are those of a program that makes its own.
func configs(t *testing.T, ca *securetest.Authority) (accepting, dialling *tls.Config) {
	t.Helper()
	f := ca.Issue(aServer)
	own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(read(t, ca.File)))
	all := []tls.Certificate{own}
	return &tls.Config{Certificates: all, ClientCAs: roots}, &tls.Config{Certificates: all, RootCAs: roots}
}

// What a configuration leaves open lets nobody in.
func TestConfigurationsAreCompleted(t *testing.T) {
	ca, other := securetest.New(t, "ca"), securetest.New(t, "other")
	accepting, dialling := configs(t, ca)
	f := other.Issue(securetest.Request{})
	stranger, err := secure.Files(f.Cert, f.Key, ca.File)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(c *tls.Config)
		enters bool
	}{
		"as it is":            {func(*tls.Config) {}, true},
		"it asks for nothing": {func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }, true},
		"no authorities":      {func(c *tls.Config) { c.ClientCAs = nil }, false},
		"chosen by the name": {func(c *tls.Config) {
			chosen := &tls.Config{Certificates: c.Certificates} // asks for nothing, either
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
		}, true},
		"the default is chosen": {func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			config := accepting.Clone()
			c.change(config)
			addr := listen(t, secure.New(config, dialling))
			require.Error(t, reaches(t, stranger, addr))
			nobody := secure.New(accepting, &tls.Config{RootCAs: dialling.RootCAs})
			require.Error(t, reaches(t, nobody, addr))
			if err := reaches(t, ca.TLS(securetest.Request{}), addr); c.enters {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
}

// A variable that was never set is no plain TCP, and crashes nobody.
func TestWhatWasNotMadeIsAnError(t *testing.T) {
	for name, s := range map[string]*secure.TLS{"nil": nil, "the zero value": new(secure.TLS)} {
		require.ErrorContains(t, s.ForServer(), "neither Files nor New", name)
		here, there := net.Pipe()
		_, err := s.Client(t.Context(), here, "a:1")
		require.ErrorContains(t, err, "neither Files nor New", name)
		_, err = there.Read(make([]byte, 1))
		require.Error(t, err, name)
	}
}
