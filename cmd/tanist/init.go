package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// runAsInit runs program, the agent, as a child of this process, which is the first of its container: it passes signals on, reaps
// whatever processes are left to it, and ends with the agent and its exit code. (The agent itself cannot reap what others
// left: it would take away the exit codes of its own children.)
func runAsInit(program string, args []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2)
	agent, err := syscall.ForkExec(program, args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "tanist: start the agent:", err)
		return 1
	}
	for s := range signals {
		if s != syscall.SIGCHLD {
			_ = syscall.Kill(agent, s.(syscall.Signal)) // it may have ended just now: then its end is next in the channel
			continue
		}
		if code, ended := reap(agent); ended {
			return code
		}
	}
	return 1 // not reached: the channel is never closed
}

// reap waits for every child that has ended. If the agent is among them, ended is true and code its exit code.
func reap(agent int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil || pid <= 0:
			return code, ended
		case pid == agent && status.Signaled():
			code, ended = 128+int(status.Signal()), true
		case pid == agent:
			code, ended = status.ExitStatus(), true
		}
	}
}
