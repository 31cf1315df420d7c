package sim

import (
	"bytes"
	"errors"

	"github.com/raftpico/go/raftpico/internal/storage"
)

// fileIfFlipped is what Open must leave as it is if it refuses it.
func (s *server) fileIfFlipped() []byte {
	if !s.flipped {
		return nil
	}
	file, err := s.fs.ReadFile("log")
	if err != nil {
		s.w.fail("%s has lost its log: %v", s, err)
	}
	return file
}

// refused checks that a file with a flipped bit was refused in the right way. In the header, a bit may make a file look like
// somebody else's.
func (s *server) refused(before []byte, err error) {
	var damage *storage.DamageError
	if !errors.As(err, &damage) && !errors.Is(err, storage.ErrFormat) {
		s.w.fail("%s can't open its damaged log: %v", s, err)
	}
	if after, _ := s.fs.ReadFile("log"); !bytes.Equal(before, after) {
		s.w.fail("%s has changed a log that it refuses", s)
	}
	s.w.result.Faults["bit flip refused"]++
	s.w.tracef("%s is refused, and wiped: %v", s, err)
}
