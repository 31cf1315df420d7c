// Package client calls a raftpico cluster from Go. It needs the address of one server, and nothing else:
//
//	c := client.New("127.0.0.1:4000")
//	defer c.Close()
//	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
//	defer cancel()
//	sum, err := client.Call[int](ctx, c, machine.Command, 5)
//
// Make one [Client] for a program, and use it from any number of goroutines: their requests share connections. It learns of the
// other servers, sends Commands to the leader and deals Queries and LocalQueries out to all. When a server goes, or the leader
// changes, it asks another one, and waits a little longer each time. So a call ends in one of three ways:
//
//   - The machine has answered: an output, or an error of the machine's own (errors.As finds the *machine.Error, and [ErrorData]
//     its data), or [ErrInvalidInput].
//   - The request is wrong, and no server would take it: [ErrInvalidParams] and others.
//   - The context has ended, or the client was closed. The error then tells what is certain: with [ErrUnknown] a Command
//     may have been applied, or may still be; with [ErrRejected], [ErrNoLeader] or [ErrBusy] it was not, and will not be.
//
// [Options].TLS is for servers that speak TLS: github.com/raftpico/go/secure makes one of certificate files.
//
// Each call needs a context that ends. Without a deadline it tries for ever. [WithFailures] tells meanwhile what goes wrong.
//
// # Commands are applied once
//
// When the answer to a Command is lost, nobody knows whether it was applied. So Commands travel in sessions (Raft thesis
// §6.3): each has a number, and servers keep its outcome until the client has it. The client may therefore send it again until it
// is answered, and it is applied once. It opens sessions by itself, when the first Command comes, and ends them in Close.
// [Options].NoSessions spares that; then a Command whose answer was lost ends with ErrUnknown. So it is with servers that know no
// sessions.
//
// A program whose machine keeps something for a session, such as a lock, opens a [Session] of its own.
//
// # Requests that wait
//
// A Command whose answer the machine defers, and a Query that waits, may take as long as the context allows: its deadline is told
// to the servers, a little before it comes (100 ms, or a tenth of the time if that is less). So the answer that the machine gives
// to a Query at its deadline still arrives, as an answer. When the context is cancelled, or nothing has come when it
// ends, a Query or LocalQuery ends with ErrRejected: it changes nothing.
//
// A connection over which nothing at all comes for 5 s is given up. Servers answer pings meanwhile, so long waits
// are no silence.
//
// Once the context has ended, the machine still has the Command, and may give what it waits for to nobody; the next call is
// another Command. So let the input tell the machine how long to wait, and give the context some seconds more: docs/MACHINES.md
// of this repository shows how. A machine may also take
// out what waits in a [Session] that has ended.
package client
