package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/cmd/tanist/demo"
)

// demoUsers are the users that root runs the demo as, the first that there is: PostgreSQL refuses root.
var demoUsers = []string{"postgres", "nobody"}

func demoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a cluster of three on this machine, and fail it over",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if os.Geteuid() == 0 {
				return runDemoUnprivileged(ctx)
			}
			return demo.Run(ctx, demo.Options{
				Once: once, Out: cmd.OutOrStdout(), Tanist: "/proc/self/exe", Command: ctlCommand(),
			})
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the story")
	return cmd
}

// ctlCommand is how the user, in the folder that this was called from, calls the operator's tool.
func ctlCommand() string {
	if path := os.Getenv(ctlEnv); path != "" {
		return path
	}
	program := filepath.Join(filepath.Dir(os.Args[0]), "tanistctl")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	return "tanistctl"
}

// ctlEnv hands the name of the tool to the unprivileged demo, which may not see the folder that it was called from.
const ctlEnv = "TANIST_DEMO_CTL"

// runDemoUnprivileged runs this very program again as an ordinary user. It is started by /proc/self/exe, as that user may
// not reach the folder that it is in.
func runDemoUnprivileged(ctx context.Context) error {
	var as *user.User
	for _, name := range demoUsers {
		if u, err := user.Lookup(name); err == nil {
			as = u
			break
		}
	}
	if as == nil {
		return errors.New("PostgreSQL refuses to run as root, and there is no user postgres; run the demo as an ordinary user")
	}
	uid, _ := strconv.Atoi(as.Uid)
	gid, _ := strconv.Atoi(as.Gid)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0], cmd.Dir = os.Args[0], "/"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LANG=C.UTF-8", ctlEnv + "=" + ctlCommand()}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		Setpgid:    true, // Ctrl-C reaches it once, through us
		Pdeathsig:  syscall.SIGTERM,
	}
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the child
	defer runtime.UnlockOSThread()
	fmt.Fprintf(os.Stdout, "PostgreSQL refuses to run as root: everything runs as user %s.\n", as.Username)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run the demo as user %s: %w", as.Username, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return demoOutcome(err)
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		return demoOutcome(<-ended)
	}
}

// demoOutcome is the outcome of the unprivileged demo, which has told its own error.
func demoOutcome(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("the demo did not succeed (%w)", err)
	}
	return err
}
