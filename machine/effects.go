package machine

import "time"

// Ticket stands for a command whose answer was deferred: its place in the log. A machine keeps it in its replicated
// state, as a value that can be compared and encodes as JSON. The zero Ticket is nobody's.
type Ticket struct {
	Index  uint64 `json:"index"`
	Offset int    `json:"offset"`
}

// Timer is implemented by a machine that wants to run at certain times, such as when a lock expires. Without it, a
// machine runs when a request comes.
type Timer interface {
	// NextTimer tells when OnTimer is to run next, computed from the state alone. A zero time means never. It is called
	// often, as Machine is: so it must be quick, and change nothing.
	NextTimer() time.Time

	// OnTimer runs when the time of NextTimer has come by the leader's clock: on every server at the same place in the
	// log, as a command does, with ctx.Kind Command and ctx.Time not before NextTimer. It may change the state. If
	// NextTimer is still due afterwards, it soon runs again: so whoever has much to do does a part of it each time.
	// A NextTimer that never moves on makes the cluster write for ever.
	OnTimer(ctx *Context)
}

// SessionEnder is implemented by a machine that keeps something for sessions, such as locks.
type SessionEnder interface {
	// OnSessionEnd runs when a session has ended: on every server at the same place in the log, as a command does, with
	// ctx.Kind Command. No command of that session comes any more.
	OnSessionEnd(ctx *Context, id uint64)
}

// Abandoner is implemented by a machine that wants to know when nobody waits for a deferred answer any more, such as to
// take a client that has gone out of a line. See Context.Defer.
type Abandoner interface {
	// OnAbandon runs when the answer to a ticket has not reached the client that asked, and never will: on every server at
	// the same place in the log, behind the command of the ticket, as a command does, with ctx.Kind Command. That is
	// so when its connection has ended, its context was cancelled, or its deadline has passed; in a session, which keeps
	// the answer for who asks again, only when the client has given the command up, or the session has ended. Then
	// OnAbandon comes before OnSessionEnd, for each of its tickets.
	//
	// The machine may have answered the ticket meanwhile: then that answer is lost too, and what was given with it, such
	// as a lock, belongs to nobody. An answer that a server has handed to the connection, even if it is lost there, is never
	// followed by OnAbandon. Nobody gets an answer that the machine gives afterwards, so it forgets the ticket. OnAbandon may run
	// again for the same one: it passes over a ticket that it does not know any more.
	//
	// It is a help and no promise: a server that crashes, or that a snapshot carries past the command, tells nothing of
	// those who waited at it. So a claim should still end by itself, by a time or with a session.
	OnAbandon(ctx *Context, t Ticket)
}

// AsAbandoner tells whether a machine is an Abandoner. It is for servers, and for tests that are one: what JSON makes has
// the method in any case, and is an Abandoner only if its state is.
func AsAbandoner(m Machine) (a Abandoner, ok bool) {
	if made, is := m.(interface{ asAbandoner() Abandoner }); is {
		a = made.asAbandoner()
		return a, a != nil
	}
	a, ok = m.(Abandoner)
	return a, ok
}

// Effects are what a machine has asked of its server during a call, by the methods of its Context. Servers carry them
// out; tests without a server look at them. Slices are valid until the next call.
type Effects struct {
	Deferred bool     // Defer was called: what Apply returns is no answer, unless it is an error
	Answers  []Answer // by Answer, in order
	Wakes    []string // by Wake, in order; a key may be there several times
	Waits    []string // by Wait, in order: not empty, what Apply returns is no answer
	Misuse   string   // a method that was called where it does nothing, in words; the first one. Empty: none
}

// Answer is a deferred answer.
type Answer struct {
	Ticket Ticket
	Output any
	Err    error
}

// Effects tells what has been asked for so far.
func (c *Context) Effects() Effects {
	if c.effects == nil {
		return Effects{}
	}
	return *c.effects
}

// Asked tells whether Effects has anything.
func (c *Context) Asked() bool { return c.asked }

// Reuse makes c ready for another call, whose fields are then to be set. What belongs to the last call is forgotten, and
// its memory used again. It is for servers, and for tests that are one.
func (c *Context) Reuse() {
	c.rand = nil
	if c.asked {
		c.forget()
	}
}

func (c *Context) forget() {
	e := c.effects
	clear(e.Answers)
	clear(e.Wakes)
	clear(e.Waits)
	e.Answers, e.Wakes, e.Waits = e.Answers[:0], e.Wakes[:0], e.Waits[:0]
	e.Deferred, e.Misuse = false, ""
	c.asked = false
}

// ask returns the effects, to be added to.
func (c *Context) ask() *Effects {
	if c.effects == nil {
		c.effects = new(Effects)
	}
	c.asked = true
	return c.effects
}

// Defer defers the answer to this command, and returns its ticket. A later Apply, OnTimer, OnSessionEnd or OnAbandon
// gives the answer by Answer. Until then the client waits, as long as its deadline allows; then it gets wire error 107,
// for the command has been applied. See Abandoner. The output that this Apply returns is dropped. An error that it
// returns is the answer instead, and the ticket is nobody's.
//
// Defer belongs into Apply of a Command. Elsewhere it does nothing, and returns the zero Ticket.
func (c *Context) Defer() Ticket {
	if c.Kind != Command || c.Upkeep {
		c.misuse("Defer is for Apply of a Command")
		return Ticket{}
	}
	c.ask().Deferred = true
	return Ticket{Index: c.Index, Offset: c.Offset}
}

// Answer answers the command that a ticket stands for, with what its Apply would have returned. Every server calls it,
// and the one whose client waits writes. The rules for output and err are those of Machine.Apply. A ticket that has been
// answered, or is nobody's, is passed over.
//
// Answer belongs into Apply of a Command, OnTimer, OnSessionEnd and OnAbandon. Elsewhere it does nothing.
func (c *Context) Answer(t Ticket, output any, err error) {
	if c.Kind != Command {
		c.misuse("Answer is for commands and timers")
		return
	}
	e := c.ask()
	e.Answers = append(e.Answers, Answer{t, output, err})
}

// Wait lets this query wait, on the server asked, until a command or a timer calls Wake with the same key. What Apply
// returns is dropped. Then the query runs again, as if it had just come: it may answer, or wait again. It may wait for
// several keys at once: any of them wakes it. When its deadline comes it runs a last time, with TimedOut. A query that
// waits costs memory, and no log entry.
//
// A query may also run again without a Wake: after a snapshot from another server. So it looks at the state each time.
//
// Wait belongs into Apply of a Query or LocalQuery. Elsewhere, and when TimedOut is set, it does nothing.
func (c *Context) Wait(key string) {
	switch {
	case c.Kind == Command:
		c.misuse("Wait is for queries")
	case !c.TimedOut:
		e := c.ask()
		e.Waits = append(e.Waits, key)
	}
}

// Wake runs the queries again that wait for key, after this call and on every server. It belongs into Apply of a
// Command, OnTimer, OnSessionEnd and OnAbandon. Elsewhere it does nothing.
func (c *Context) Wake(key string) {
	if c.Kind != Command {
		c.misuse("Wake is for commands and timers")
		return
	}
	e := c.ask()
	e.Wakes = append(e.Wakes, key)
}

func (c *Context) misuse(what string) {
	if e := c.ask(); e.Misuse == "" {
		e.Misuse = what
	}
}
