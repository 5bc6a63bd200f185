package guard

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
)

// memoryLook reads which shared memory a postmaster has, without keeping anybody from an order: the disk may hang.
type memoryLook struct {
	pid    int
	start  uint64
	done   chan struct{}
	result warden.SharedMemory // once done is closed
	waited bool
}

// lookPatience is how long the first order for a postmaster waits for its postmaster.pid.
const lookPatience = 50 * time.Millisecond

// sharedMemory is what is known by now of the shared memory of the postmaster of r.
func (g *Guard) sharedMemory(ctx context.Context, r warden.Request) warden.SharedMemory {
	if r.PID == 0 {
		return warden.SharedMemory{}
	}
	look := g.memory
	if look != nil && look.pid == r.PID && look.start == r.Start {
		select {
		case <-look.done:
			if look.result.Known {
				return look.result
			}
			look = nil // the server had not written it yet
		default:
		}
	} else {
		look = nil
	}
	if look == nil {
		look = &memoryLook{pid: r.PID, start: r.Start, done: make(chan struct{})}
		g.memory = look
		go look.run() // ends when the disk answers; nobody may wait for that
	}
	if !look.waited {
		look.waited = true
		timer := time.NewTimer(lookPatience)
		defer timer.Stop()
		select {
		case <-look.done:
			return look.result
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return warden.SharedMemory{}
}

// run reads postmaster.pid in the working directory of the postmaster. Its seventh line is "key id" (PostgreSQL source, pidfile.h).
func (l *memoryLook) run() {
	defer close(l.done)
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cwd/postmaster.pid", l.pid))
	if err != nil {
		return
	}
	lines := strings.Split(string(raw), "\n")
	if len(lines) < 7 || strings.TrimSpace(lines[0]) != strconv.Itoa(l.pid) {
		return
	}
	words := strings.Fields(lines[6])
	if len(words) != 2 {
		return
	}
	key, err1 := strconv.ParseUint(words[0], 10, 64) // printed as unsigned long, though a key has 32 bits and a sign
	id, err2 := strconv.Atoi(words[1])
	if err1 == nil && err2 == nil {
		l.result = warden.SharedMemory{Known: true, Key: int32(key), ID: id}
	}
}
