// Package torture starts real kvs processes as a cluster, keeps it busy, breaks things in a random order, and asks
// Porcupine whether any answer was wrong.
//
//	go test ./torture                                        a few faults that need no root, in seconds
//	go test ./torture -v -faults 50 -servers 5               a longer run, about two minutes; ten with -runs 10 -timeout 1h
//	sudo go test ./torture -v -root -faults 50               all faults; Linux only
//	go test ./torture -v -timeout 1h -run Soak -soak 30m     a constant load; does memory grow? Linux only
//
// -seed repeats the order of the faults, though not their timing; -kind 'kill|split' takes only some kinds of them. -keep DIR
// keeps logs and histories of runs that failed. GOFLAGS=-race in the environment builds the servers with the race detector.
//
// # Faults
//
// Everywhere: kill -9, also of a majority or of all; a clean stop; SIGSTOP; a torn last line; a snapshot, alone or with a
// kill in the midst of it; a server that is removed, wiped and added anew; hostile clients beside the load, who send what is no
// JSON, HTTP, lines without end and requests that cost much, do not read, and come back. The servers' traffic goes through a
// network that can be cut, one way or both, or be slow: without root through TCP proxies, which hold bytes back; with -root each
// server has a network namespace, and its packets are carried, lost, delayed and put out of order by the test.
//
// With -root each server has a small file system of its own on a loop device, which is filled up, or loses what was not
// synced (a power cut), or hangs for a while; and strace lets its fsync fail. What a machine lacks is left out, with a message. All of
// it is removed at the end, at Ctrl-C too, or by the next run if the test itself was killed; a disk that hangs is thawed by a process
// of its own.
//
// # Hardships
//
// Servers without load or chance, each looked at alone: few descriptors and many strangers, a log that nobody reads, a file that is gone.
//
// All servers are kvs with the main of testdata, which sets limits so small that a test reaches them.
//
// # Verdict
//
// Sixteen clients, each with a few requests under way, put, get and delete twenty keys. Each value is written once. What
// was answered 107 or not at all may have happened or not; what was answered 102, 106, 108 or 110 must not have. After so
// many operations a key gives way to a new one, so that histories stay short enough to be judged, each as soon as it is
// complete. In the end all servers are restarted and must agree, go on, and have logs without damage.
//
// Beside them, three clients of package client do what shows at once if a command is carried out twice or not at all: counters
// of one writer, by Put and by PutIf; one that all add to; registers that all share, for Porcupine; and queries that wait, for
// each change of a register, and for a bell that rings again only when it was heard. Whatever is done to servers, none of it may
// stay without a certain answer, though answers are lost and 107 comes. Logs are carried out anew by the rules of sessions
// alone, and must make the state that the servers have.
package torture
