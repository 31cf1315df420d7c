package serve

import (
	"errors"
	"flag"
	"log/slog"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/secure"
)

// TLS is what a command line says of TLS. The zero value is plain TCP.
type TLS struct {
	Cert, Key, CA string // PEM files: all or none
	Admin         string // the organizational unit of who may change the cluster; empty: everybody who is let in
}

func (t *TLS) register(f *flag.FlagSet) {
	text(f, &t.Cert, "cert", "speaks TLS: its certificate is in `FILE`, read again when it changes")
	text(f, &t.Key, "key", "with -cert: the private key is in `FILE`")
	text(f, &t.CA, "ca", "with -cert: the authorities of servers and clients are in `FILE`")
	text(f, &t.Admin, "admin", "with -cert: only clients of the organizational unit `OU` may change the cluster")
}

// text is a flag that may be left away, but not be empty: a variable of a script that is not set must not open the port.
func text(f *flag.FlagSet, to *string, name, usage string) {
	f.Func(name, usage, func(value string) error {
		if value == "" {
			return errors.New("it is empty")
		}
		*to = value
		return nil
	})
}

// check is for all that a command line says.
func (t *TLS) check(manage bool) error {
	n := 0
	for _, file := range []string{t.Cert, t.Key, t.CA} {
		if file != "" {
			n++
		}
	}
	switch {
	case n > 0 && n < 3:
		return errors.New("-cert, -key and -ca go together")
	case t.Admin != "" && n == 0:
		return errors.New("-admin needs -cert, -key and -ca: without TLS nobody knows who asks")
	case manage && t.Admin != "":
		return errors.New("-manage and -admin exclude each other: HTTP asks for no certificate, so nobody could manage over it")
	}
	return nil
}

// secure sets the options of a server. HTTP beside it stays as it is.
func (t *TLS) secure(o *raftpico.Options, http string) error {
	if t.Cert == "" {
		return nil
	}
	own, err := secure.Files(t.Cert, t.Key, t.CA)
	if err != nil {
		return err
	}
	o.TLS = own
	if t.Admin != "" {
		o.Authorize = secure.Admins(t.Admin)
	}
	if http != "" {
		slog.Warn("HTTP is not encrypted, and asks nobody who he is: keep its port away from strangers", "http", http)
	}
	return nil
}
