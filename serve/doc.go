// Package serve is what programs that run raftpico servers have in common: a command line, a cluster for a first try in one
// process, HTTP beside a server, and its health. A whole program:
//
//	func main() {
//		(&serve.Service{
//			Name:  "counter",
//			New:   func() machine.Machine { return machine.JSON(&counter{}) },
//			Addrs: []string{"127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"},
//		}).Main()
//	}
//
// Its command line:
//
//	counter                                     a cluster of three in this process; its files are in counter-data
//	counter ADDR [FILE]                         one server
//	counter -listen ADDR [-advertise ADDR] [FILE]
//	                                            one server that others reach at another address than it listens on
//	  -join A,B,C                               it asks these to be added to their cluster
//	  -bootstrap N                              these N make a cluster if none of them belongs to one
//	  -http ADDR                                HTTP beside it, where the service has any
//	  -manage                                   the console may change the cluster, where the service has one
//	  -cert FILE -key FILE -ca FILE             TLS, see package secure
//	  -admin OU                                 only these clients may change the cluster
//
// [Health] is of use without the rest.
package serve
