// Package raftpico makes a replicated service of a state machine: its servers agree on a log of commands by Raft, apply them in
// the same order, and answer clients over JSON-RPC 2.0 on TCP, a JSON object a line.
//
//	type counter struct{ Value int }
//
//	func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
//		if ctx.Kind == machine.Command {
//			c.Value += add
//		}
//		return c.Value, nil
//	}
//
//	err := raftpico.Run(ctx, machine.JSON(&counter{}), raftpico.Options{Addr: "10.0.0.1:4000", File: "counter.jsonl"})
//
// Package machine tells what a machine must be: deterministic, above all.
//
// # A cluster
//
// A server with an empty file belongs to no cluster. [Server.CreateCluster], on one, makes it the first member; then
// [Server.AddServer], on any member, adds the server that listens at an address. Members and the id of each are in [State]: an id
// is the index of the log entry that added the server, and is never given again. A server that was removed must have its file deleted
// before it is added anew.
//
// # Failing over
//
// Every member takes every request, and passes commands on to the leader. A client needs some of the addresses and tries the next
// one when a server can't be reached, or answers 102, 106, 108 or 110: these promise that nothing was carried out, so the same request
// may be sent to another server at once. Where it is known, "leader" in [Error].Data is the address to try first.
//
// 107, or a connection that breaks before the answer, says that a command may or may not be carried out, now or later. In a session
// it is sent again, and carried out once: [Server.ApplyOnce] does so in process, and package client by itself. Outside of
// one, send again only what may be carried out twice.
//
// # In process
//
// A [Server] has the same requests as methods. Their errors are the wire's: test them with [errors.Is]. The methods may be called from
// any goroutine, and return when the request is answered, at the latest about when their context ends; [Server.Begin] returns
// before. The machine is called by one goroutine at a time; its
// Apply must not call its own server.
//
// [Apply], [Query] and [LocalQuery] return outputs as Go values. [Server.Events], [Server.Status], [Server.Leader] and [Server.Ready]
// tell who leads and whether the server has caught up, and ask nothing of it.
//
// A server ends by [Server.Close], or because its disk or its machine fails; [Server.Wait] tells why. It never goes on after
// a failed write, so a supervisor should start it again.
package raftpico
