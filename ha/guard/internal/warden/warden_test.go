package warden

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestWarden is a guard inside the test, with nobody at its channel.
func newTestWarden(t *testing.T) *warden {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWarden(ends[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.idle()
		for _, fd := range []int{ends[0], ends[1], w.timer} {
			unix.Close(fd)
		}
	})
	return w
}

// sleeper starts a process that does nothing.
func sleeper(t *testing.T) (*exec.Cmd, *Request) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var p proc
	s, errno := p.stat(cmd.Process.Pid)
	if errno != 0 {
		t.Fatal(errno)
	}
	later := now() + time.Hour
	return cmd, &Request{Kind: KindArm, PID: cmd.Process.Pid, Start: s.start, Fast: later, Quit: later, Kill: later}
}

// The garbage collector is off in a guard: what it allocated, it would keep.
func TestNothingIsAllocated(t *testing.T) {
	w := newTestWarden(t)
	_, r := sleeper(t)
	w.request = *r
	w.handle(true)
	if w.reply.Result != ResultOK {
		t.Fatalf("arm: %+v", w.reply)
	}
	me := os.Getpid()
	for name, f := range map[string]func(){
		"order": func() {
			r.Encode((*[RequestBytes]byte)(w.in[:]))
			_ = w.request.Decode(w.in[:])
			w.handle(true)
			w.send(w.channel)
		},
		"drain":    func() { w.drain() },
		"act":      func() { w.act(now()) },
		"refresh":  func() { w.proc.refresh(&w.target) },
		"children": func() { w.proc.children(me) },
		"look":     func() { w.looker.look(me, &w.looker.seen[0]) },
		"sweep":    func() { w.proc.sweep(&w.target, &w.stuck) },
		"title":    func() { w.setTitle() },
		"shared":   func() { SharedMemory{Known: true, ID: 1}.attached() },
	} {
		if n := testing.AllocsPerRun(20, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// A kernel without lists of children is served by looking.
func TestChildren(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 >/dev/null & sleep 1000 >/dev/null & echo; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	var p proc
	listed := slices.Clone(p.children(cmd.Process.Pid))
	if len(listed) != 2 {
		t.Errorf("the kernel lists %v, want two", listed)
	}
	if looked := p.childrenByLooking(cmd.Process.Pid); !slices.Equal(looked, listed) {
		t.Errorf("found %v by looking, the kernel lists %v", looked, listed)
	}
}

// A kernel without pidfd: the process is held by SIGSTOP while it is looked at.
func TestWithoutPidfd(t *testing.T) {
	cmd, r := sleeper(t)
	w := newTestWarden(t)
	w.request = *r
	w.handle(true)
	closePidfd(w.target.pidfd)
	w.target.pidfd = -1
	if !w.proc.alive(&w.target) {
		t.Fatal("a process that runs counts as dead")
	}
	w.target.start++ // another process with the same pid
	w.proc.signal(&w.target, unix.SIGKILL)
	if w.proc.alive(&w.target) {
		t.Error("a process with another start time counts as the same")
	}
	w.target.start--
	if !w.proc.alive(&w.target) {
		t.Fatal("another process was killed")
	}
	w.proc.signal(&w.target, unix.SIGTERM)
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended: %v", err)
	}
	if w.proc.alive(&w.target) {
		t.Error("a process that has ended counts as alive")
	}
}

func TestProcessesAreListed(t *testing.T) {
	var p proc
	all := p.processes()
	found := false
	for pid := all.next(); pid != 0; pid = all.next() {
		found = found || pid == os.Getpid()
	}
	if !found || all.errno != 0 {
		t.Errorf("found this process: %v, error %v", found, all.errno)
	}
}

func TestParseStat(t *testing.T) {
	const text = "4711 (a) b (c) S 12 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 88123 1 2"
	s, ok := parseStat([]byte(text))
	if want := (status{state: 'S', parent: 12, start: 88123}); !ok || s != want {
		t.Errorf("got %+v %v, want %+v", s, ok, want)
	}
	for _, bad := range []string{"", "4711", "4711 (x)", "4711 (x) S 1 2"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
