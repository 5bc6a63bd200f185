package sysfault_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/sysfault"
)

// Example refuses one form of a call. It is harmless enough to stay in force for the rest of this process.
func Example() {
	err := sysfault.Install(sysfault.Rule{
		Call: unix.SYS_UMASK, Match: []sysfault.Argument{{Index: 0, Value: 0o123}}, Errno: unix.EPERM,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, mask := range []uintptr{0o123, 0o022} {
		_, _, errno := unix.RawSyscall(unix.SYS_UMASK, mask, 0, 0)
		fmt.Printf("%#o: %v\n", mask, errno == unix.EPERM)
	}
	// Output:
	// 0123: true
	// 022: false
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "die" {
		die()
	}
	os.Exit(m.Run())
}

// die makes two calls, of which the second ends the process.
func die() {
	err := sysfault.Install(sysfault.Rule{
		Call: unix.SYS_UMASK, Match: []sysfault.Argument{{Index: 0, Value: 0o077, Not: true}, {Index: 1, Value: 7}},
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, args := range [][2]uintptr{{0o077, 7}, {0o022, 6}, {0o022, 7}} {
		fmt.Println(args)
		_, _, _ = unix.RawSyscall(unix.SYS_UMASK, args[0], args[1], 0)
	}
	os.Exit(2)
}

func TestCallEndsTheProcess(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "die")
	out, err := cmd.Output()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGSYS {
		t.Errorf("it ended by %v", err)
	}
	if got, want := string(out), "[63 7]\n[18 6]\n[18 7]\n"; got != want {
		t.Errorf("it came to %q, want %q", got, want)
	}
}
