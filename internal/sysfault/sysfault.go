// Package sysfault lets chosen system calls of a process fail, as under a container's filter, or end the process, as a kill at that very
// moment does. It uses seccomp, whose filters nobody can take off again and which children inherit, also over an exec; so a test
// installs them in a process that it started for that purpose. It needs Linux and no privilege.
package sysfault

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rule says what becomes of a system call.
type Rule struct {
	Call  uint32     // number, unix.SYS_...
	Match []Argument // all of them must fit; none: every such call
	Errno unix.Errno // the call fails so; 0: it ends the process, as SIGSYS does, before it had an effect
}

// Argument compares the lower 32 bits of one argument of a call.
type Argument struct {
	Index int // 0 to 5
	Value uint32
	Not   bool // fits if it is another value
}

// Install puts the rules in force for all threads of this process and for all children to come. The first rule that fits counts; calls
// that none fits are allowed.
func Install(rules ...Rule) error {
	var program []unix.SockFilter
	for _, r := range rules {
		program = append(program, r.code()...)
	}
	program = append(program, statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// All threads at once: nobody knows on which one the Go runtime makes a call.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return fmt.Errorf("install a seccomp filter: %w", errno)
	}
	return nil
}

// code compares call and arguments, and jumps behind itself at the first that does not fit. Offsets are those of struct seccomp_data;
// the lower half of an argument comes first on the little-endian machines that this project is built for.
func (r Rule) code() []unix.SockFilter {
	fate := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if r.Errno != 0 {
		fate = unix.SECCOMP_RET_ERRNO | uint32(r.Errno)
	}
	left := uint8(2 * len(r.Match)) // statements between the next comparison and the last
	code := []unix.SockFilter{statement(load, 0), {Code: equal, K: r.Call, Jf: left + 1}}
	for _, a := range r.Match {
		left -= 2
		c := unix.SockFilter{Code: equal, K: a.Value, Jf: left + 1}
		if a.Not {
			c.Jt, c.Jf = c.Jf, 0
		}
		code = append(code, statement(load, uint32(16+8*a.Index)), c)
	}
	return append(code, statement(unix.BPF_RET|unix.BPF_K, fate))
}

const (
	load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
)

func statement(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
