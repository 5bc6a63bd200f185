package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
)

// process is one guard process that this agent started, and the channel to it.
type process struct {
	child   *os.Process
	pid     int
	channel *os.File
	told    func(*process, warden.Reply) // called for what it says unasked
	gone    chan struct{}                // closed when it has ended, or was let go

	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]chan warden.Reply
	last    warden.Reply // the newest of all
	status  string       // how it ended
}

// startPatience bounds the time that a new guard process takes to say hello. It is long, as nothing hangs on it but the order itself,
// whose own deadline is shorter.
const startPatience = 10 * time.Second

// self is this program, also after its file was replaced or removed.
const self = "/proc/self/exe"

// startProcess starts an idle guard and returns when it has answered. reading is called with the goroutine that hears it, to be run.
func startProcess(ctx context.Context, executable string, told func(*process, warden.Reply), spawn func(func())) (*process, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the channel of a guard: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "guard's end")
	if err := unix.SetNonblock(ends[0], true); err != nil {
		unix.Close(ends[0])
		theirs.Close()
		return nil, fmt.Errorf("open the channel of a guard: %w", err)
	}
	p := &process{channel: os.NewFile(uintptr(ends[0]), "guard"), told: told, gone: make(chan struct{}), waiting: map[uint64]chan warden.Reply{}}
	p.child, err = fork(executable, theirs)
	theirs.Close() // or the death of a guard that never says hello would not be seen
	if err != nil {
		p.channel.Close()
		return nil, err
	}
	p.pid = p.child.Pid
	spawn(p.listen)
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if _, err := p.ask(ctx, warden.Request{Kind: warden.KindHello}); err != nil {
		p.kill()
		return nil, fmt.Errorf("start a guard: %w (%s; hint: does the main of %s begin with guard.Main()?)", err, p.ended(), executable)
	}
	return p, nil
}

// fork starts the program as a guard: in a session of its own, in "/", with no file but its channel.
func fork(executable string, channel *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	defer null.Close()
	title := warden.GuardTitle + strings.Repeat(" ", warden.TitleBytes-len(warden.GuardTitle))
	child, err := os.StartProcess(executable, []string{title}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=containermaxprocs=0"}, // no collection, and no files of its cgroup
		Files: []*os.File{null, null, null, channel},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	return child, nil
}

// listen hears the guard until it ends or is let go.
func (p *process) listen() {
	defer close(p.gone)
	var b [2 * warden.ReplyBytes]byte
	for {
		n, err := p.channel.Read(b[:])
		if err != nil {
			if !errors.Is(err, os.ErrClosed) { // its end of the channel closes when it dies, and never before
				state, _ := p.child.Wait()
				p.mu.Lock()
				p.status = state.String()
				p.mu.Unlock()
			}
			p.channel.Close()
			return
		}
		var r warden.Reply
		if r.Decode(b[:n]) == nil {
			p.hear(r)
		}
	}
}

func (p *process) hear(r warden.Reply) {
	p.mu.Lock()
	p.last = r
	waiter := p.waiting[r.Seq]
	delete(p.waiting, r.Seq)
	p.mu.Unlock()
	if waiter != nil {
		waiter <- r // has room for one
	}
	if r.Kind == warden.KindTold || r.Result == warden.ResultFired {
		p.told(p, r)
	}
}

// errGone says that the guard process has ended.
var errGone = errors.New("the guard process has ended")

// ask sends r and returns the reply to it.
func (p *process) ask(ctx context.Context, r warden.Request) (warden.Reply, error) {
	answer := make(chan warden.Reply, 1)
	p.mu.Lock()
	p.seq++
	r.Seq = p.seq
	p.waiting[r.Seq] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, r.Seq)
		p.mu.Unlock()
	}()
	var b [warden.RequestBytes]byte
	r.Encode(&b)
	deadline, _ := ctx.Deadline() // none: no deadline
	_ = p.channel.SetWriteDeadline(deadline)
	if _, err := p.channel.Write(b[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return warden.Reply{}, context.DeadlineExceeded
		}
		return warden.Reply{}, errGone
	}
	select {
	case got := <-answer:
		return got, nil
	case <-p.gone:
		return warden.Reply{}, errGone
	case <-ctx.Done():
		return warden.Reply{}, context.Cause(ctx)
	}
}

// state is the newest thing that the guard said.
func (p *process) state() warden.Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// ended is how the process ended, "" before.
func (p *process) ended() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// kill ends the process and waits a moment for its end. One that hangs in the kernel (its program lies on a disk that hangs) goes later;
// with SIGKILL pending it never acts again.
func (p *process) kill() {
	_ = p.child.Kill() // through its pidfd: never another process
	timer := time.NewTimer(killPatience)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-timer.C:
	}
}

// killPatience bounds the wait for the end of a guard that was killed.
const killPatience = 200 * time.Millisecond

// letGo leaves the process to itself.
func (p *process) letGo() {
	p.channel.Close()
	<-p.gone
	_ = p.child.Release()
}
