package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
	"github.com/tanist-ha/tanist/postgres"
)

// askPatience is how long a guard of another agent may take to answer. One that does not is dead or frozen: its postmaster counts as
// unguarded.
const askPatience = 200 * time.Millisecond

// foreignGuard is a guard process of another agent, most likely of this one's predecessor.
type foreignGuard struct {
	pid   int
	name  string // of its abstract socket, "" if that is not to be seen from here
	pidfd int    // -1: this kernel has none
	conn  *net.UnixConn
	reply warden.Reply // zero: it did not answer
	order warden.Request
}

// foreign asks the guards of other agents about the postmaster of r, unless r only renews an order of our own. They end by f.end, once
// a guard of ours is armed. An error says that one of them has fired.
func (g *Guard) foreign(ctx context.Context, r warden.Request) ([]*foreignGuard, error) {
	if r.PID == 0 || r.PID == g.target.PID && r.Start == g.target.Start {
		return nil, nil
	}
	mine := 0
	if p := g.process(); p != nil {
		mine = p.pid
	}
	found := findGuards(r, mine)
	var all sync.WaitGroup
	for _, f := range found {
		all.Go(func() { f.ask(ctx) })
	}
	all.Wait()
	for _, f := range found {
		if f.reply.State == warden.StateFired {
			err := &RefusedError{Guard: f.pid, PID: r.PID, Fired: true, Why: "it has fired: the server is being ended" + left(f.reply)}
			closeAll(found)
			return nil, err
		}
	}
	return found, nil
}

func closeAll(guards []*foreignGuard) {
	for _, f := range guards {
		f.close()
	}
}

func (f *foreignGuard) close() {
	if f.conn != nil {
		f.conn.Close()
	}
	if f.pidfd >= 0 {
		unix.Close(f.pidfd)
	}
}

// findGuards finds the processes that guard the postmaster of r: by the names of their sockets, and by their titles, which are to be seen
// from another network namespace, too.
func findGuards(r warden.Request, mine int) []*foreignGuard {
	names := map[int]string{}
	id := fmt.Sprintf("%d-%d", r.PID, r.Start)
	sockets, _ := os.ReadFile("/proc/self/net/unix") // unreadable: the titles are left
	for line := range strings.Lines(string(sockets)) {
		_, name, ok := strings.Cut(strings.TrimSpace(line), "@"+warden.SocketPrefix+id+"/")
		if pid, _, _ := strings.Cut(name, "."); ok {
			if n, err := strconv.Atoi(pid); err == nil {
				names[n] = warden.SocketPrefix + id + "/" + name
			}
		}
	}
	for _, pid := range guardProcesses() {
		if titleOf(pid) == warden.GuardTitle+" of postmaster "+id && names[pid] == "" {
			names[pid] = ""
		}
	}
	var found []*foreignGuard
	for pid, name := range names {
		if pid == mine {
			continue
		}
		f := &foreignGuard{pid: pid, name: name, pidfd: -1, order: r}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			f.pidfd = fd
		} else if errors.Is(err, unix.ESRCH) {
			continue
		}
		if !isGuard(pid) { // somebody who only took the name
			f.close()
			continue
		}
		found = append(found, f)
	}
	return found
}

// guardProcesses lists the processes that call themselves guards and belong to this user. Only of those is the command line read: reading
// it can hang with the process that it belongs to.
func guardProcesses() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isGuard(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isGuard says whether pid is a guard process of this user.
func isGuard(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(name)) != warden.GuardName {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && bytes.Contains(status, fmt.Appendf(nil, "\nUid:\t%d\t%d\t", os.Getuid(), os.Geteuid()))
}

func titleOf(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	title, _, _ := strings.Cut(string(raw), "\x00")
	return title
}

// ask fills f.reply, if the guard answers in time and is who it says.
func (f *foreignGuard) ask(ctx context.Context) {
	if f.name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", "@"+f.name)
	if err != nil {
		return
	}
	f.conn = conn.(*net.UnixConn)
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.conn.SetDeadline(deadline)
	}
	if !f.isPeer() {
		return
	}
	if reply, err := f.exchange(warden.KindQuery); err == nil && reply.PID == f.order.PID && reply.Start == f.order.Start {
		f.reply = reply
	}
}

// isPeer says whether the other end of the socket is the process that we hold, of our own user.
func (f *foreignGuard) isPeer() bool {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	controlled := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return controlled == nil && err == nil && int(cred.Pid) == f.pid && int(cred.Uid) == os.Geteuid()
}

func (f *foreignGuard) exchange(kind warden.Kind) (warden.Reply, error) {
	var out [warden.RequestBytes]byte
	q := warden.Request{Kind: kind, Seq: uint64(kind), PID: f.order.PID, Start: f.order.Start}
	q.Encode(&out)
	if _, err := f.conn.Write(out[:]); err != nil {
		return warden.Reply{}, err
	}
	var in [2 * warden.ReplyBytes]byte
	n, err := f.conn.Read(in[:])
	if err != nil {
		return warden.Reply{}, err
	}
	var reply warden.Reply
	err = reply.Decode(in[:n])
	return reply, err
}

// end dismisses the guard; one that does not answer is killed, as it would fire its old deadline when it thaws.
func (f *foreignGuard) end(log *slog.Logger) {
	defer f.close()
	if f.reply.Guard != 0 {
		_ = f.conn.SetDeadline(time.Now().Add(askPatience))
		reply, err := f.exchange(warden.KindDismiss)
		if err == nil && reply.Result == warden.ResultOK {
			log.Info("took over from another guard", "guard", f.pid, "pid", f.order.PID)
			return
		}
		if err == nil && reply.Result == warden.ResultFired {
			log.Error("the guard that was to be taken over has fired", "guard", f.pid, "pid", f.order.PID)
			return // it ends the server
		}
	}
	log.Warn("another guard did not answer: it is killed", "guard", f.pid, "pid", f.order.PID)
	if f.pidfd >= 0 {
		_ = unix.PidfdSendSignal(f.pidfd, unix.SIGKILL, nil, 0)
	} else if isGuard(f.pid) {
		_ = unix.Kill(f.pid, unix.SIGKILL)
	}
	// It may have been killed in the middle of its ladder, between stopping the postmaster and ending it.
	if runs(postgres.Postmaster{PID: f.order.PID, Start: f.order.Start}) {
		_ = unix.Kill(f.order.PID, unix.SIGCONT)
	}
}
