//go:build linux

package hangtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/internal/sysfault"
	"github.com/tanist-ha/tanist/postgres"
)

// refuseMark has a process of this test binary be an agent that arms a guard for the process that it names, and says what came of it.
const refuseMark = "HANGTEST_ARM"

// sandboxMark names what the system refuses to that agent and to its guard, from the beginning.
const sandboxMark = "HANGTEST_SANDBOX"

// sandboxes are sets of calls that fail with EPERM, as under a container's filter.
var sandboxes = map[string][]sysfault.Rule{
	"nothing refused":     nil,
	"no signals by pidfd": {{Call: unix.SYS_PIDFD_SEND_SIGNAL, Errno: unix.EPERM}},
	"no pidfd and no signals": {
		{Call: unix.SYS_PIDFD_OPEN, Errno: unix.EPERM}, {Call: unix.SYS_PIDFD_SEND_SIGNAL, Errno: unix.EPERM}, {Call: unix.SYS_KILL, Errno: unix.EPERM},
	},
}

func refuseMain(target string) {
	if rules := sandboxes[os.Getenv(sandboxMark)]; len(rules) > 0 {
		if err := sysfault.Install(rules...); err != nil {
			panic(err)
		}
	}
	var p postgres.Postmaster
	if _, err := fmt.Sscan(target, &p.PID, &p.Start); err != nil {
		panic(err)
	}
	clock, err := bootclock.New()
	if err != nil {
		panic(err)
	}
	g, err := guard.New(guard.Config{Boottime: clock.Boottime})
	if err != nil {
		panic(err)
	}
	later := clock.Now().Add(time.Hour)
	err = g.Arm(context.Background(), ha.FenceOrder{Postmaster: &p, Fast: later, Quit: later, Kill: later})
	var refused *guard.RefusedError
	if errors.As(err, &refused) {
		fmt.Println(refused.Why, "hint:", refused.Hint())
		return
	}
	fmt.Println("not refused:", err)
}

// Claim 5.10: what a platform lacks is found out when arming, and said.
func TestRefused(t *testing.T) {
	needRoot(t)
	p, _ := victim(t)
	space := exec.Command("sleep", "1000")
	space.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := space.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = space.Process.Kill()
		_ = space.Wait()
	}()
	program := ownCopy(t)
	for _, c := range []struct {
		name   string
		target postgres.Postmaster
		before string // what a shell does first, in a mount namespace of its own
		asUser uint32
		want   string
	}{
		{"another user", p, ":", 65534, "belongs to another user"},
		{"hidden", p, "mount -t proc -o hidepid=invisible proc /proc", 65534, "/proc does not show"},
		{"another pid namespace", identify(t, space.Process.Pid), ":", 0, "another pid namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("unshare", "--mount", "/bin/sh", "-ec",
				fmt.Sprintf("%s; exec setpriv --reuid=%d --regid=%d --clear-groups %s", c.before, c.asUser, c.asUser, program))
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", refuseMark, c.target.PID, c.target.Start))
			said, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if !strings.Contains(string(said), c.want) {
				t.Errorf("it said %q, want %q", said, c.want)
			}
		})
	}
}

// Claim 5.10: a guard that may see its server and not signal it, as under a container's filter, could not end it when the time comes. It says
// so when it is armed. Without a filter the same guard is armed.
func TestRefusedSignals(t *testing.T) {
	p, _ := victim(t)
	for sandbox := range sandboxes {
		t.Run(sandbox, func(t *testing.T) {
			want := "it may not signal that process hint: run the agent as the user that owns the server"
			if len(sandboxes[sandbox]) == 0 {
				want = "not refused: <nil>"
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", refuseMark, p.PID, p.Start), sandboxMark+"="+sandbox)
			said, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if !strings.Contains(string(said), want) {
				t.Errorf("it said %q, want %q", said, want)
			}
		})
	}
}

// ownCopy is a copy of this test binary where every user can execute it.
func ownCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hangtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "program")
	if err := os.WriteFile(name, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
