// Package table has a map for machines with large states: it is captured in an instant, and goes on changing while the capture is
// written. A machine that keeps what is large in tables becomes a machine.Snapshotter with two short methods:
//
//	type accounts struct {
//		Balances table.Table[int64] // by account
//		Payments int
//	}
//
//	func (m *accounts) Capture() (write func(io.Writer) error, err error) { return table.Capture(m) }
//
//	func (m *accounts) Load(r io.Reader) (install func(), err error) {
//		fresh, err := table.Read[accounts](r)
//		return func() { *m = *fresh }, err
//	}
//
// Its snapshots are those that machine.JSON would make without the two: the same bytes, key by key. So a machine may begin with
// plain machine.JSON, and get the methods when its state has grown.
//
// # What to keep in one table
//
// A capture costs a pointer for every 50 keys or so of each table, and the encoding of everything beside the tables. So keep in tables
// whatever clients can make many of. Things that belong together are best kept under keys of several parts, such as tenant, a zero
// byte and name, rather than in a table of their own for each tenant: a million tenants with a key each are then one table. What is
// counted by tenant is another table, by tenant.
//
// # Order
//
// A Table yields its members in an order that is the same on all servers, but means nothing. A Sorted has them sorted: for pages of keys
// that begin with a prefix, or for the first of all. Keys that begin with a time, in digits of a fixed width, make it the list of what
// is to expire next.
//
// # Values
//
// A value must not change once it is in a table, since a capture may have it. Set a new one instead:
//
//	lock, _ := m.Locks.Get(name)
//	lock.Queue = append(lock.Queue, waiter) // writes behind what others see, or elsewhere
//	m.Locks.Set(name, lock)
//
// So values are best structs with few fields, and without maps.
package table
