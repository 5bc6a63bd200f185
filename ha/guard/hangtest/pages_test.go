//go:build linux

package hangtest

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageOut asks the kernel to reclaim memory of another process, as it would under pressure. What is locked stays.
func pageOut(pidfd int, from, to uintptr) {
	span := [2]uintptr{from, to - from} // struct iovec
	_, _, _ = unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(pidfd), uintptr(unsafe.Pointer(&span)), 1, unix.MADV_PAGEOUT, 0, 0)
}

// view is a file that is mapped, so that its pages can be counted without asking its file system.
type view []byte

func mapped(t *testing.T, file *os.File) view {
	t.Helper()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// resident counts the pages of the file, and those that are in memory.
func (v view) resident(t *testing.T) (all, present int) {
	t.Helper()
	page := os.Getpagesize()
	in := make([]byte, (len(v)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)), uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range in {
		present += int(p & 1)
	}
	return len(in), present
}
