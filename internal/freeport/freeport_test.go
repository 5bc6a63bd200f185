package freeport_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/freeport"
)

func Example() {
	ports, err := freeport.Get(2)
	fmt.Println(len(ports), ports[0] != ports[1], err)
	// Output: 2 true <nil>
}

// Two processes that ask at the same time never get the same port, nor one that the kernel gives to outgoing connections.
func TestProcessesShareNothing(t *testing.T) {
	if os.Getenv("PORTS_OF_ANOTHER") != "" {
		fmt.Println("ports", get(t, 250))
		return
	}
	mine := get(t, 250)
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesShareNothing$")
	cmd.Env = append(os.Environ(), "PORTS_OF_ANOTHER=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, list, _ := strings.Cut(string(out), "ports [")
	list, _, _ = strings.Cut(list, "]")
	theirs := strings.Fields(list)
	if len(theirs) != 250 {
		t.Fatalf("the other process says %q", out)
	}
	for _, p := range theirs {
		if n, err := strconv.Atoi(p); err != nil || n >= 32768 || slices.Contains(mine, n) {
			t.Errorf("port %s: %v", p, err)
		}
	}
}

func TestTakenPortIsPassedOver(t *testing.T) {
	var now int
	var l net.Listener
	for l == nil { // until the next port of the block, which has a hundred, is there and free
		if now = get(t, 1)[0]; now%100 < 99 {
			l, _ = net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(now+1))
		}
	}
	defer l.Close()
	if got := get(t, 1)[0]; got == now+1 {
		t.Errorf("port %d was given, and somebody listens there", got)
	}
}

func get(t *testing.T, n int) []int {
	t.Helper()
	ports, err := freeport.Get(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}
