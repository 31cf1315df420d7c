package secure

import "time"

// LookAgain has the next handshake look at the files.
func (t *TLS) LookAgain() {
	t.files.mu.Lock()
	defer t.files.mu.Unlock()
	t.files.looked = time.Time{}
}
