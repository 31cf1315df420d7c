package storage

import (
	"errors"
	"fmt"
)

// ErrFormat says that a file is no log file, or one that a newer version wrote. It was left as it is.
var ErrFormat = errors.New("not a log file of this version")

// DamageError says that a log file holds what no crash explains, so acknowledged data may be lost. Open refuses such a
// file and leaves it as it is: a server that started without what it promised could outvote those who remember.
type DamageError struct {
	File   string
	Line   int   // from 1
	Offset int64 // of the line's first byte
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("storage: %s is damaged: line %d (at byte %d): %s. The file was left as it is. "+
		"To give it up, remove this server from the cluster, delete the file, and add the server again.", e.File, e.Line, e.Offset, e.Reason)
}
