// Package torture starts real processes of the services of examples as clusters, keeps them busy, breaks things in a random order, and
// judges every answer, by Porcupine or by a check of the service's own rule.
//
//	go test ./torture                                        a few faults for each service that need no root, in seconds
//	go test ./torture -v -run Torture -faults 50 -servers 5  a longer run of kvs, about two minutes; ten with -runs 10 -timeout 1h
//	go test ./torture -v -run IDs -faults 50                 the same of another service: Torture, HTTP, IDs or Locks
//	sudo go test ./torture -v -run Locks -root -faults 50    all faults; Linux only
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
// Servers of kvs have the main of testdata, which sets limits so small that a test reaches them. The others are as they are.
//
// Clocks are those of the machine: nothing here sets them wrong. What services do with clocks that jump is for the simulator, and for
// the tests of their machines.
//
// # Verdict of kvs
//
// Sixteen clients, each with a few requests under way, put, get and delete twenty keys. Each value is written once. What
// was answered 107 or not at all may have happened or not; what was answered 102, 106, 108 or 110 must not have. After so
// many operations a key gives way to a new one, so that histories stay short enough to be judged, each as soon as it is
// complete. In the end all servers are restarted and must agree, go on, and have logs without damage.
//
// Over HTTP, half of the registers are two keys that one form writes together: whichever is read, they are one register. Values have
// bytes of all kinds. A 503 that says that nothing was changed is held to that.
//
// Beside them, over JSON-RPC, three clients of package client do what shows at once if a command is carried out twice or not at all: counters
// of one writer, by Put and by PutIf; one that all add to; registers that all share, for Porcupine; and queries that wait, for
// each change of a register, and for a bell that rings again only when it was heard. Whatever is done to servers, none of it may
// stay without a certain answer, though answers are lost and 107 comes. Logs are carried out anew by the rules of sessions
// alone, and must make the state that the servers have.
//
// # Verdict of ids
//
// No id is given twice, and one that somebody had before another was asked for is smaller: of each sequence, and of all ULIDs. Of a
// sequence nothing is left out but what may have been given to nobody. CurID sees all that was given before. ULIDs have the time of
// their request. Programs that use package idclient are processes of their own, which are stopped, go on, and are killed: in one life
// of theirs a name that nobody else uses has no gaps.
//
// # Verdict of locks
//
// Each kind of client comes by JSON-RPC, by package client, and by HTTP. Some make requests of all sorts to tenants with a few locks,
// counters and values, for Porcupine: a request is carried out as a whole, or not at all; one with an idempotency id is sent until it is
// certain, and is carried out once. Some stand in line for locks that expire, extend them, find them lost, or go away without a word: handles
// grow in the order in which locks are given, no lock has two holders or ends before its time, and what was written with a lock is there
// as long as it is held. Counters hold what was added. Who watches a key hears each change. In the end, when nothing is done to
// the servers any more, locks of clients who have gone are free in time.
package torture
