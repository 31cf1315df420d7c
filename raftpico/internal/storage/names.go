package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links without a file behind them are followed, as in Linux.
const maxLinks = 40

// Locate implements FS.
func (osFS) Locate(name string) (full, own string, err error) {
	if full, err = inFull(name); err != nil {
		return "", "", err
	}
	if own, err = follow(full); err != nil {
		return "", "", err
	}
	return full, own, replaceable(own)
}

// inFull leaves the name as it is but for the working directory, which may change. NB: filepath.Abs would also shorten
// "link/../log" to "log", which is another file.
func inFull(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	dir, err := os.Getwd()
	return dir + string(filepath.Separator) + name, err
}

// follow returns the file's own name, of which no part is a link. Unlike filepath.EvalSymlinks it takes a last link
// that leads to no file yet: that is where the file will be made.
func follow(name string) (string, error) {
	for range maxLinks {
		own, err := filepath.EvalSymlinks(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return own, err // a loop is an error, too
		}
		dir, last := filepath.Split(name)
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return "", err
		}
		name = filepath.Join(dir, last)
		switch target, err := os.Readlink(name); {
		case errors.Is(err, fs.ErrNotExist):
			return name, nil
		case err != nil:
			return "", err
		case filepath.IsAbs(target):
			name = target
		default:
			name = dir + string(filepath.Separator) + target
		}
	}
	return "", &fs.PathError{Op: "follow", Path: name, Err: errors.New("too many symbolic links")}
}

// replaceable tells why no log can be kept under that name, where it can be told before one is.
func replaceable(own string) error {
	info, err := os.Lstat(own)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is a folder, a device or the like, not a file")
	}
	dir, err := os.Stat(filepath.Dir(own))
	switch {
	case err != nil:
		return err
	case mounted(own):
		return fmt.Errorf("%s is mounted as a single file, as containers do, and can't be replaced, as each snapshot must: mount its folder instead", own)
	case dir.Mode()&os.ModeSticky != 0 && othersFile(info, dir):
		return fmt.Errorf("%s belongs to another user, and in a folder with the sticky bit it can't be replaced, as each snapshot must", own)
	}
	return nil
}

// Named implements File.
func (f osFile) Named(name string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, named), err
}

// mountID is the mount in which a file is, empty where the system does not tell.
func mountID(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return ""
	}
	_, id, _ := strings.Cut(string(info), "mnt_id:")
	id, _, _ = strings.Cut(id, "\n")
	return strings.TrimSpace(id)
}

// mounted tells whether a file is a mount point. The device does not tell: it is the same for a file that was bound
// over another of its own file system.
func mounted(name string) bool {
	file, dir := mountID(name), mountID(filepath.Dir(name))
	return file != "" && dir != "" && file != dir
}
