package guard_test

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
)

// A process is ended at its time, whatever the one that set it does. (A program's main begins with guard.Main; here it is in TestMain.)
func Example() {
	clock, err := bootclock.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	fence, err := guard.New(guard.Config{Boottime: clock.Boottime})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer fence.Close()

	server := exec.Command("sleep", "1000")
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	now := clock.Now()
	postmaster := identifyProcess(server.Process.Pid)
	err = fence.Arm(context.Background(), ha.FenceOrder{
		Postmaster: &postmaster,
		Fast:       now.Add(1200 * time.Millisecond),
		Quit:       now.Add(1300 * time.Millisecond),
		Kill:       now.Add(1400 * time.Millisecond),
	})
	fmt.Println("armed:", err == nil)
	fmt.Println("server:", server.Wait())
	fmt.Println("fired:", (<-fence.Lost()).Fired)
	// Output:
	// armed: true
	// server: signal: interrupt
	// fired: true
}
