//go:build linux

package hangtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// diskMark has a process of this test binary be a disk: a FUSE file system of one file, this binary, mounted where it says. (It is a process
// of its own, as one that executes a program of its own file system waits for itself.) At the first byte on its standard input it hangs.
const diskMark = "HANGTEST_DISK"

// disk is the file system as its process sees it.
type disk struct {
	fs.Inode
	hangs atomic.Bool
}

func (d *disk) wait() {
	if d.hangs.Load() {
		select {}
	}
}

// program is the file.
type program struct {
	fs.Inode
	disk *disk
	text []byte
}

var (
	_ = (fs.NodeOnAdder)((*disk)(nil))
	_ = (fs.NodeOpener)((*program)(nil))
	_ = (fs.NodeReader)((*program)(nil))
	_ = (fs.NodeGetattrer)((*program)(nil))
)

func (d *disk) OnAdd(ctx context.Context) {
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	d.AddChild("program", d.NewPersistentInode(ctx, &program{disk: d, text: text}, fs.StableAttr{}), false)
}

func (p *program) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	p.disk.wait()
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (p *program) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	p.disk.wait()
	out.Mode, out.Size = 0o755, uint64(len(p.text))
	return 0
}

func (p *program) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	p.disk.wait()
	end := min(off+int64(len(dest)), int64(len(p.text)))
	return fuse.ReadResultData(p.text[min(off, end):end]), 0
}

func diskMain(dir string) {
	d := &disk{}
	if _, err := fs.Mount(dir, d, &fs.Options{MountOptions: fuse.MountOptions{AllowOther: true, DirectMount: true, FsName: "hangtest"}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("mounted")
	_, _ = os.Stdin.Read(make([]byte, 1))
	d.hangs.Store(true)
	fmt.Println("hangs")
	select {}
}

// mounted is the file system as the test sees it.
type mounted struct {
	program string // its file
	in      io.Writer
	out     *bufio.Reader
}

// mount starts a disk that is taken away at the end of the test.
func mount(t *testing.T) *mounted {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), diskMark+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // whoever waits for the disk gets an error now
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = cmd.Wait()
	})
	m := &mounted{program: filepath.Join(dir, "program"), in: in, out: bufio.NewReader(out)}
	if said := m.hear(t); said != "mounted\n" {
		if os.Getenv("CI") == "" {
			t.Skip("this machine mounts no FUSE file systems")
		}
		t.Fatalf("the disk said %q", said)
	}
	return m
}

func (m *mounted) hear(t *testing.T) string {
	t.Helper()
	said, _ := m.out.ReadString('\n') // "": it has ended
	return said
}

// hang lets everything that is not in memory wait for ever.
func (m *mounted) hang(t *testing.T) {
	t.Helper()
	if _, err := m.in.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if said := m.hear(t); said != "hangs\n" {
		t.Fatalf("the disk said %q", said)
	}
}
