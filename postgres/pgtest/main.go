package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// childMark is set in the environment of the test binary that Main started again.
const childMark = "PGTEST_CHILD"

// Main runs the tests of m and exits the process. As root it runs this very binary again as the user postgres, with
// TMPDIR and HOME set to a fresh folder of that user that is removed at the end; signals and the exit code are passed
// through. The child cannot reach the folder of the test binary: to start itself once more it must use /proc/self/exe,
// not os.Args[0].
func Main(m *testing.M) {
	Guard(m, nil)
}

// Guard is Main with a step of the caller's between: run gets the tests to run, for example goleak.VerifyTestMain, and is
// called only in the process that runs them. Whether or not it exits, the process ends; a nil run is m.Run.
func Guard(m *testing.M, run func(m *testing.M)) {
	if os.Getuid() == 0 && os.Getenv(childMark) == "" {
		code, err := asPostgres()
		if err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
		}
		os.Exit(code)
	}
	if run == nil {
		os.Exit(m.Run())
	}
	run(m)
	os.Exit(0)
}

func asPostgres() (int, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return 1, fmt.Errorf("find a user to run PostgreSQL as: %w (hint: install PostgreSQL, or run the tests as an ordinary user)", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return 1, fmt.Errorf("make temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, 0o777)); err != nil {
		return 1, fmt.Errorf("hand temporary folder over: %w", err)
	}
	args, results := redirect(os.Args[1:], dir)
	for _, r := range results {
		if r.folder {
			if err := errors.Join(os.Mkdir(r.from, 0o777), os.Chown(r.from, uid, gid)); err != nil {
				return 1, err
			}
		}
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), childMark+"=1", "TMPDIR="+dir, "HOME="+dir, "USER="+u.Username, "LOGNAME="+u.Username)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		Pdeathsig:  syscall.SIGKILL,
	}
	code, err := runAndForward(cmd)
	for _, r := range results {
		if !r.folder {
			err = errors.Join(err, copyBack(r.from, r.to))
		}
	}
	return code, err
}

// runAndForward runs cmd, passes signals on to it, and returns its exit code as a shell would.
func runAndForward(cmd *exec.Cmd) (int, error) {
	runtime.LockOSThread() // the death signal is bound to the thread that starts the child
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("run the tests as user postgres: %w", err)
	}
	done := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	<-forwarded
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("run the tests as user postgres: %w", err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// result is a file or folder that the child writes at from and the caller of the test binary expects at to.
type result struct {
	from, to string
	folder   bool
}

// redirect rewrites the flags by which "go test" asks for files in folders that only root may enter. The test log is
// left out: without it the run is not cached, which is right, as it depends on the servers that are installed.
func redirect(args []string, dir string) (out []string, results []result) {
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch name {
		case "test.testlogfile":
			continue
		case "test.coverprofile", "test.cpuprofile", "test.memprofile", "test.mutexprofile", "test.blockprofile", "test.trace":
			r := result{from: filepath.Join(dir, name), to: value}
			results = append(results, r)
			arg = "-" + name + "=" + r.from
		case "test.outputdir":
			continue // the profiles are absolute paths now
		case "test.gocoverdir":
			r := result{from: filepath.Join(dir, name), folder: true}
			results = append(results, r)
			arg = "-" + name + "=" + r.from
		}
		out = append(out, arg)
	}
	// Relative names are relative to the output folder.
	for _, arg := range args {
		if value, ok := strings.CutPrefix(strings.TrimLeft(arg, "-"), "test.outputdir="); ok {
			for i := range results {
				if !filepath.IsAbs(results[i].to) {
					results[i].to = filepath.Join(value, results[i].to)
				}
			}
		}
	}
	return out, results
}

func copyBack(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the child ended before it wrote it
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
