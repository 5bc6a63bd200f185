package guard_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

var (
	kills = flag.Int("guard.kills", 3, "how often TestKillTakes ends a busy server")
	loss  = flag.Int("guard.losses", 3, "how often TestRearmTakes kills a guard")
	idle  = flag.Duration("guard.idle", 2*time.Second, "how long TestIdleTakesNothing measures")
)

// From T_kill to the end of the last process, with 100 clients at work. The figures are printed; the bound is generous, for slow machines.
func TestKillTakes(t *testing.T) {
	c := startServer(t, pgtest.BinDir(t))
	c.Program(t, "pgbench", "-i", "-q", "-s", "1", c.ConnString("postgres"))
	var took []time.Duration
	for i := range *kills {
		if i > 0 {
			c.Start(t)
		}
		took = append(took, killBusy(t, c))
	}
	slices.Sort(took)
	t.Logf("T_kill to the last process gone, 100 busy clients, %d kills: median %v, p99 %v, max %v",
		len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if worst := took[len(took)-1]; worst > 5*time.Second {
		t.Errorf("it took %v", worst)
	}
}

func killBusy(t *testing.T, c *pgtest.Cluster) time.Duration {
	t.Helper()
	bench := exec.Command(filepath.Join(c.BinDir, "pgbench"), "-n", "-c", "100", "-j", "2", "-T", "600", c.ConnString("postgres"))
	bench.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := bench.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bench.Process.Kill()
		_ = bench.Wait()
	}()
	pid := c.PID()
	for end := time.Now().Add(patience); ; {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if len(strings.Fields(string(raw))) >= 105 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the clients do not connect")
		}
	}
	all := everyone(t, pid)
	g, clock := newGuard(t)
	o := order(clock, identify(t, pid), 1300*time.Millisecond, 1300*time.Millisecond, 1300*time.Millisecond)
	arm(t, g, o)
	for _, h := range all {
		h.ended(t)
	}
	took := clock.Now().Sub(o.Kill)
	await(t, g.Lost())
	c.Ended(t)
	return took
}

// From the death of an armed guard to the acknowledgement of the next one, with a spare guard and without. The figures are printed.
func TestRearmTakes(t *testing.T) {
	clock, s := newClock(t), startSignalLog(t)
	g, err := guard.New(guard.Config{Executable: os.Getenv("TANIST_PROGRAM"), Boottime: clock.Boottime})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	p := identify(t, s.cmd.Process.Pid)
	for _, spared := range []bool{true, false} {
		var told, armed []time.Duration
		for range *loss {
			arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
			spare, old := hold(t, g.Spare(t)), hold(t, g.Process())
			if !spared {
				_ = unix.PidfdSendSignal(spare.fd, unix.SIGKILL, nil, 0)
				spare.ended(t)
			}
			began := time.Now()
			_ = unix.PidfdSendSignal(old.fd, unix.SIGKILL, nil, 0)
			await(t, g.Lost())
			told = append(told, time.Since(began))
			began = time.Now()
			arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
			armed = append(armed, time.Since(began))
		}
		slices.Sort(told)
		slices.Sort(armed)
		last, p99 := len(armed)-1, len(armed)*99/100
		t.Logf("spare guard: %v; told of the death: median %v, p99 %v, max %v; armed again: median %v, p99 %v, max %v", spared,
			told[last/2], told[p99], told[last], armed[last/2], armed[p99], armed[last])
	}
}

// A guard that waits takes no time of the processor, and little memory.
func TestIdleTakesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	r, s := guard.StartRaw(t), startSignalLog(t)
	r.Ask(armRequest(t, s.cmd.Process.Pid, time.Hour, time.Hour, time.Hour))
	before := cpu(t, r.PID())
	until(t, guard.Boottime()+*idle)
	if used := cpu(t, r.PID()) - before; used > 1 {
		t.Errorf("%d ticks of 10 ms in %v", used, *idle)
	} else {
		t.Logf("%d ticks of 10 ms in %v", used, *idle)
	}
}

// cpu is the processor time of a process in ticks of 10 ms.
func cpu(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw)[strings.LastIndexByte(string(raw), ')')+1:])
	var user, system int
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return user + system
}
