package storage

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// A large file that nobody needs any more is freed in steps, with pauses in which the file system commits its journal. It would
// free a whole one in a single commit, for which the log's syncs wait. Measured on ext4 that also discards what becomes free, 300
// MB: p99 of the syncs meanwhile 99 ms for the whole, 22 ms in steps of 16 MiB with pauses of 2 ms, 10 ms as it is here; at rest 23 ms.
//
// A hard link to the log is somebody's copy from the moment when the log has left it. So each step looks whether a name
// leads to the file (see File.Free); then it is only closed.
const (
	freeStep  = 4 << 20 // bytes
	freePause = 5 * time.Millisecond
)

// free gives back the room of file[:end], if that is much, and closes the file; at once if there is no time.
func free(file File, end int64, hurry *atomic.Bool) error {
	for at := int64(0); end > freeStep && at < end && !hurry.Load(); at += freeStep {
		if file.Free(at, min(freeStep, end-at)) != nil {
			break // not here, or somebody's copy
		}
		time.Sleep(freePause)
	}
	return file.Close()
}

// place is where a log file is on the disk. It is freed when the log has left it for a new one, and everyone who reads
// the state in it has too.
type place struct {
	file  File
	hurry *atomic.Bool
	mu    sync.Mutex
	used  int // by the log, and by UserStates
}

func (p *place) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used++
}

func (p *place) leave() error {
	p.mu.Lock()
	p.used--
	last := p.used == 0
	p.mu.Unlock()
	if !last {
		return nil
	}
	return free(p.file, p.freeable(), p.hurry)
}

// Close implements io.Closer, for whom Commit hands the old file to.
func (p *place) Close() error { return p.leave() }

// freeable is up to where a file can be freed before it is closed. Somebody may be copying it, or looking at it, and
// must not take what is left for a log that a crash has cut: so the last lines stay, and what is missing before them is
// damage.
func (p *place) freeable() int64 {
	const kept = 64 << 10
	size, err := p.file.Size()
	if err != nil || size < kept {
		return 0
	}
	last := make([]byte, kept)
	if err := readFull(p.file, last, size-kept); err != nil || bytes.Count(last, []byte{'\n'}) < 3 {
		return 0
	}
	return size - kept
}
