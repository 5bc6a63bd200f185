package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// File is a log file that is turned over when it has grown: NAME becomes NAME.1, that becomes NAME.2, and so on.
type File struct {
	name string
	size int64 // at which the file is turned over; 0: never
	keep int   // old files kept
	mode fs.FileMode

	mu      sync.Mutex
	file    *os.File
	written int64
}

// OpenFile opens dir/patroni.log, the name that log shippers know, for appending. mode 0 means by umask.
func OpenFile(dir string, size int64, keep int, mode fs.FileMode) (*File, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	f := &File{name: filepath.Join(dir, "patroni.log"), size: size, keep: keep, mode: mode}
	return f, f.open()
}

func (f *File) open() error {
	mode := f.mode
	if mode == 0 {
		mode = 0o666
	}
	file, err := os.OpenFile(f.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	if f.mode != 0 {
		err = file.Chmod(f.mode) // whatever the umask is
	}
	info, statErr := file.Stat()
	if err = errors.Join(err, statErr); err != nil {
		file.Close()
		return fmt.Errorf("open the log file: %w", err)
	}
	f.file, f.written = file, info.Size()
	return nil
}

// Write appends one or more whole lines. If the file cannot be turned over, it goes on growing.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size > 0 && f.written > 0 && f.written+int64(len(p)) > f.size {
		f.turnOver()
	}
	n, err := f.file.Write(p)
	f.written += int64(n)
	return n, err
}

// turnOver renames the files and starts a new one; on any error the present one stays in use.
func (f *File) turnOver() {
	for i := f.keep - 1; i > 0; i-- {
		if err := os.Rename(f.old(i), f.old(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	var err error
	if f.keep > 0 {
		err = os.Rename(f.name, f.old(1))
	} else {
		err = os.Remove(f.name)
	}
	if err != nil {
		return
	}
	previous := f.file
	if f.open() == nil {
		previous.Close() // it was written through by the kernel as we went
	}
}

func (f *File) old(i int) string { return fmt.Sprintf("%s.%d", f.name, i) }

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
