package jsonrpc

// Limits bounds what clients can make a Server hold. Zero means the default.
type Limits struct {
	MaxLine     int // bytes of a line, newline not counted: 16 MiB; beyond: one error, then the connection is closed
	MaxConns    int // connections: 16,384; beyond, the one idle longest is closed for a newcomer, or else the newcomer
	Reserve     int // file descriptors that MaxConns leaves to others, of those that the process may have open: 16
	MaxUnderway int // requests unanswered per connection: 16,384; then it is not read. Also the requests in one batch
	MaxRequests int // requests unanswered in all: 262,144. A connection that has more of them than are free is not read
	MaxUnsent   int // bytes of answers unsent per connection: 64 MiB; above a quarter it is not read. See Call.Result

	// Budget bounds, in bytes, what all connections hold together: 256 MiB. One half is for read buffers and unsent
	// answers: past it the connection that holds most is closed. The other half is for requests read and not yet
	// answered: past it nothing is read until some are answered. A connection counts until its memory is freed.
	Budget int
}

const defaultMaxLine = 16 << 20

// filled is l with the defaults in place of zeros, for a process that may have so many file descriptors open.
func (l Limits) filled(files int) Limits {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.MaxLine, defaultMaxLine)
	set(&l.MaxConns, 16384)
	set(&l.Reserve, 16)
	l.MaxConns = min(l.MaxConns, max(files-l.Reserve, files/4, 1))
	set(&l.MaxUnderway, 16384)
	set(&l.MaxRequests, 1<<18)
	set(&l.MaxUnsent, 64<<20)
	set(&l.Budget, 256<<20)
	return l
}
