// Package machinetest checks a machine without a server. Two tests of a line each find most of what would make servers
// differ, lose state at a restart, or end:
//
//	var config = machinetest.Config{
//		New:    func() machine.Machine { return machine.JSON(&counter{}) },
//		Inputs: []any{1, -1, 1000},
//	}
//
//	func TestMachine(t *testing.T) { machinetest.Run(t, config) }
//	func FuzzMachine(f *testing.F) { machinetest.Fuzz(f, config) }
//
// Run makes up sequences of calls out of the sample inputs: commands, queries, log entries with several commands, time
// that goes by, timers, sessions that begin and end, clients that do not wait for their answers, and new versions. Each is played on three copies of the machine,
// as servers would:
//
//	first     gets all of it, and its state is looked at after each call
//	second    gets the commands alone, decades later by time.Now
//	restored  is replaced, now and then, by a new or used machine that is restored from a snapshot of the first one
//
// These are faults:
//
//   - Copies differ: in an answer, an error, the state, a deferred answer, the keys that they wake, NextTimer, or Hash.
//   - A restored copy differs from the one that its snapshot was taken of, at once or later.
//   - Two snapshots of the same state differ, or are no JSON, or can't be restored.
//   - The state changes in a query, or in Snapshot, Validate, Needs, NextTimer or Hash.
//   - The machine panics, also on inputs that it does not know, and on commands that its Validate refuses.
//   - An output is not JSON. An input, a raw output or a snapshot changes after it was handed over.
//   - Validate or Needs says something else of the same input, Version of the same machine.
//   - NextTimer stays due for ever.
//   - A waiting query would have an answer after a command that has not called Wake with its key.
//   - A ticket is answered that Defer never gave. (The zero Ticket, and one that has been answered, may be answered.)
//   - A ticket is answered for which OnAbandon has run.
//   - A method of Context is called where it does nothing.
//   - What Snapshotter.Capture has captured changes with the next commands, or its write loses an error.
//   - Equal states have different hashes, or different ones the same.
//
// Nothing is said against an error that changes the state, nor against a deferred answer that never comes: a machine
// may want these. Whether the answers are right only a test of the machine's own can tell.
//
// What is found is told with the shortest sequence that shows it, and with the seed to see it again. The order of a map
// differs by chance; so a fault of that sort may show in one run and not in the next. Snapshotters are also written and
// loaded while commands are applied: run the test with -race.
//
// Time inside of the machine is that of testing/synctest. So a machine must not leave goroutines behind, and neither
// Run nor Fuzz may be called inside of a bubble.
package machinetest
