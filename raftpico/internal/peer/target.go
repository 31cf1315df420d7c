package peer

import "slices"

// Target is the server that a link is to, and where it may be.
type Target struct {
	Name               // its Addr is the listed one
	Elsewhere []string // other addresses, which are tried before that
}

// addrs are the addresses to try, the first one first.
func (t *Target) addrs() []string {
	var all []string
	for _, addr := range append(slices.Clone(t.Elsewhere), t.Addr) {
		if addr != "" && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	if len(all) == 0 {
		return []string{""} // a list that nobody should make: to dial it fails
	}
	return all
}

// maxReasons bounds how many addresses a link remembers, of those that it could not be made to.
const maxReasons = 64

// Retarget tells where the server may be from now on. If the living connection is to another address than the first one, it ends: what
// is there is not the server any more, or will not be for long.
func (l *Link) Retarget(to Target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.tries = to, 0
	if l.up && l.at != to.addrs()[0] {
		_ = l.conn.Close() // which the goroutine notices
	}
}

func (l *Link) target() Target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to
}

// address is the one to dial next.
func (l *Link) address() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.to.addrs()
	return all[l.tries%len(all)]
}

// tryNext is called when a dial has led nowhere.
func (l *Link) tryNext() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
}

// connected is the address of the living connection, or of the last one.
func (l *Link) connected() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// MachineVersion is the version of the other server's machine, as it said when the link came up last.
func (l *Link) MachineVersion() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

// Level is what the other server's release can read, as it said when the link came up last.
func (l *Link) Level() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level
}
