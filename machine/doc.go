// Package machine is the contract between a replicated service and the servers that run it: you write the state
// machine, they keep the copies alike. The smallest one is a type with one method:
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
// machine.JSON(&counter{}) makes a Machine of it. Who wants other snapshots than the JSON of the state implements
// Machine itself. What else a machine may do it says by optional methods:
//
//	Validator     refuses bad commands before they are logged
//	Snapshotter   has its state encoded and decoded beside Apply, piece by piece: for large ones
//	Versioned     changes its behaviour with a new build, on all servers at the same command
//	Needer        has commands that only a new version understands
//	Hasher        keeps a hash of its state, which the servers compare
//	Timer         runs at certain times, also when no request comes
//	SessionEnder  is told when a client's session has ended
//	Abandoner     is told when nobody waits for a deferred answer any more
//
// By its Context, a machine may also answer later (Defer), let a query wait for a change (Wait) and tell of one (Wake).
// The page docs/MACHINES.md of this repository builds a machine with these, step by step.
//
// # Who calls, and when
//
// The server makes all calls one at a time, each after the one before has returned, though not always on the same
// goroutine. So a machine needs no lock, must not block, and must not call its server (start a goroutine for that).
// Three calls are different: the write that Snapshotter.Capture returns and Snapshotter.Load run on goroutines of
// their own, beside all others, one write and one Load at a time; and Versioned.Version may be called at any time.
//
// Before a server belongs to a cluster, its machine gets LocalQueries only. Commands are applied anew after a restart:
// those behind the last snapshot, in the same order. So a machine keeps its state in memory alone, and does nothing
// outside (sends no mail, writes no file) in Apply.
//
// # What must be equal
//
// Every server applies the same commands in the same order, and the states must stay equal: a command may depend on
// the state, on its input and on its Context, and on nothing else. Common ways to break that: time.Now, a random
// number that is not from Context.Rand, the order of a map, the environment, a file, a pointer's address, floating
// point on unlike processors, a goroutine's timing, another build of the program.
//
// Servers compare a hash of their states at the same index, every few minutes and when asked (raftpico's CheckState).
// It is made of the snapshot, or is the machine's own (Hasher). So equal states must give snapshots that are equal
// byte for byte. The snapshots of JSON are. A machine that encodes its state itself must not write a map in the order
// of its iteration; the package encoding/json, its v2 with Deterministic, and github.com/goccy/go-json sort the keys
// of maps.
//
// # Errors and panics
//
// An error of Apply goes to the client and changes nothing by itself: the state stays as Apply left it. So check
// first, and change afterwards. Errors of a command must be the same on every server where they mean that the state
// has not changed.
//
// A panic in a command ends the server, with the command and the stack in the error, and the same command ends the
// others: a state changed half-way must not be served from. A panic in a query, in Validate or in Needs before
// logging is answered as wire error -32603. One while a state is encoded or decoded counts as an error of that.
//
// # Who owns what
//
// The machine is the server's from Start until Close has returned: nobody else may use it. Inputs and snapshots that
// are handed to a machine never change, and it may keep slices of them. Outputs and snapshots that it returns must
// not change afterwards; each method tells.
//
// # New versions of a machine
//
// A rolling upgrade runs two builds side by side, so a new build that does anything else with the same command makes
// the states differ. A machine that is Versioned prevents it. Its Version is raised with each change of behaviour,
// and Context.Version tells which behaviour is wanted:
//
//	func (c *counter) Version() int { return 2 }
//
//	func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
//		if ctx.Version >= 2 && add < 0 {
//			return nil, errors.New("version 2 refuses negative numbers")
//		}
//		...
//
// All servers go on with version 1, replaced one by one, until every member runs the new build. Then the leader puts
// an entry into the log, behind which Context.Version is 2 everywhere. The cluster's version never falls. A server
// whose machine is older than that stops, and says so; such a one is not added either.
//
// A new build reads snapshots of older versions, and writes what an older build can read as long as the cluster has
// the old version: a follower of the old build may need it, and hashes are compared. A field that is new
// gets omitzero in its JSON tag, and is left zero until Context.Version is high enough:
//
//	type counter struct {
//		Value int
//		Adds  int `json:",omitzero"` // since version 2
//	}
//
// A new command is a tag of its own, not a new member of an old input. An old build refuses a member that it does not
// know, also one that is null, which a Go struct can't tell from one that is absent: so Needs would not see it.
//
// A build whose machine becomes a Timer, SessionEnder or Abandoner behaves differently too, so these methods do nothing
// until Context.Version is high enough.
//
// Machines that are not Versioned have version 0. They become Versioned with 1 when their behaviour changes first; the
// old behaviour is then that of version 0. NB: Without that, to stop all servers before the first of the new build
// starts would not do: each applies anew, by the new behaviour, what is behind its own last snapshot, and those differ.
package machine
