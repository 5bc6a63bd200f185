package watchdog_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/watchdog"
)

// A leader of ttl 30 s lets the device count 25 s, keeps it alive with each renewal, and stops it when its server is down. The testing
// driver shows what the device is told.
func Example() {
	dir, err := os.MkdirTemp("", "watchdog")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		fmt.Println(err)
		return
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0) // reads, and needs no writer to be opened
	if err != nil {
		fmt.Println(err)
		return
	}
	defer fifo.Close()

	w, err := watchdog.New(watchdog.Config{Device: path, Driver: watchdog.DriverTesting, Now: time.Now})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	ctx := context.Background()
	for range 3 {
		renewed := time.Now() // a renewal was sent then, and has been confirmed
		state, err := w.Arm(ctx, ha.WatchdogOrder{Timeout: 25 * time.Second, Least: 10 * time.Second, Most: 28 * time.Second,
			Before: renewed.Add(30*time.Second - 400*time.Millisecond - 25*time.Second)})
		if err != nil || state.Timeout != 25*time.Second {
			fmt.Println(state, err)
		}
	}
	if _, err := w.Disarm(ctx); err != nil {
		fmt.Println(err)
	}
	told := make([]byte, 100)
	n, _ := fifo.Read(told)
	fmt.Printf("%q\n", told[:n])
	// Output: "Ctimeout=25\n111V"
}
