// Package secure is TLS for the servers and clients of raftpico: mutual TLS, on the one port that all of them speak on. Three
// PEM files make it:
//
//	t, err := secure.Files("server.crt", "server.key", "ca.crt")
//	...
//	s, err := raftpico.Start(m, raftpico.Options{Addr: "db1.example.com:4000", File: "log.jsonl", TLS: t})
//
//	c := client.NewWith(client.Options{TLS: t}, "db1.example.com:4000")
//
// # Who is who
//
// Everybody has a certificate that an authority in ca.crt has signed, for these extended key usages (RFC 5280 §4.2.1.12):
//
//   - A server has serverAuth and clientAuth. It calls other servers, too.
//   - A client has clientAuth alone.
//
// Who dials takes a certificate with serverAuth only, and only one for the host that it has dialled: a name, or an IP address.
// A server takes what other servers say only from somebody with serverAuth. So a client can't act as a server, even if it knows
// the cluster's key. A certificate without extended key usages is neither.
//
// [Admins] keeps the methods that change a cluster for some of the clients.
//
// # New certificates
//
// [Files] looks at its files when connections begin, once a second at most, and takes over what has changed. Connections that
// are there go on with the certificates that they began with. New files that can't be used are logged, and the old ones stay in
// use.
//
// A program that does not import this package has no TLS compiled in.
package secure
