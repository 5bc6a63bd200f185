//go:build linux

package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/freeport"
)

// Layout is the kind of network that a cluster has.
type Layout int

const (
	// Loopback: each node has an address of 127/8, and free ports.
	Loopback Layout = iota
	// Namespaces: each node has a network namespace. The harness, etcd and HAProxy live in another one, the hub, whose
	// bridge connects them all. Nothing of it is visible from outside, and it ends with its last process. Needs root.
	Namespaces
)

// Addresses within the namespaces. They exist nowhere else.
const (
	hubAddress  = "10.99.7.254"
	nodeAddress = "10.99.7." // and the number of the node
)

// namespace is a network namespace that lives while its file is open or a process is in it.
type namespace struct{ file *os.File }

// newNamespace makes a namespace whose loopback interface is up.
func newNamespace() (*namespace, error) {
	type result struct {
		ns  *namespace
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("make network namespace: %w", err)}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		done <- result{&namespace{file}, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	return r.ns, r.ns.ip("link set lo up")
}

// do runs f on a thread that is in the namespace: what f starts and the sockets it makes stay there.
func (n *namespace) do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that nobody else runs in the wrong namespace; it ends with the goroutine.
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// dial connects from within the namespace; nil: from where the process is.
func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	d := net.Dialer{KeepAlive: -1}
	err = n.do(func() error {
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// path names the namespace for other processes, while this one lives.
func (n *namespace) path() string {
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(n.file.Fd()))
}

// ip runs the ip program in the namespace, once per line.
func (n *namespace) ip(lines ...string) error {
	return n.do(func() error {
		for _, line := range lines {
			out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
			}
		}
		return nil
	})
}

// newHub makes the namespace with the bridge.
func newHub() (*namespace, error) {
	hub, err := newNamespace()
	if err != nil {
		return nil, err
	}
	return hub, hub.ip(
		"link add br0 type bridge forward_delay 0 mcast_snooping 0",
		"link set br0 address 02:00:00:00:00:fe",
		"address add "+hubAddress+"/24 dev br0",
		"link set br0 up",
	)
}

// newHost makes the namespace of node i of n and plugs it into the hub. Neighbours are fixed, so that a host that is cut
// off is silent: no "host unreachable" comes back for it, just as behind a router.
func newHost(hub *namespace, i, n int) (*namespace, error) {
	host, err := newNamespace()
	if err != nil {
		return nil, err
	}
	port := portName(i)
	if err := hub.ip(
		"link add "+port+" type veth peer name eth0 netns "+host.path(),
		"link set "+port+" up",
		"link set "+port+" master br0",
		"neighbour replace "+nodeAddress+strconv.Itoa(i)+" lladdr "+mac(i)+" dev br0 nud permanent",
	); err != nil {
		return nil, err
	}
	lines := []string{
		"link set eth0 address " + mac(i),
		"address add " + nodeAddress + strconv.Itoa(i) + "/24 dev eth0",
		"link set eth0 up",
		"neighbour replace " + hubAddress + " lladdr 02:00:00:00:00:fe dev eth0 nud permanent",
	}
	for other := 1; other <= n; other++ {
		if other != i {
			lines = append(lines, "neighbour replace "+nodeAddress+strconv.Itoa(other)+" lladdr "+mac(other)+" dev eth0 nud permanent")
		}
	}
	return host, host.ip(lines...)
}

func portName(i int) string { return "host" + strconv.Itoa(i) }
func mac(i int) string      { return fmt.Sprintf("02:00:00:00:00:%02x", i) }

// freePorts returns ports that are free on address, all different, and that no other test gets.
func freePorts(ns *namespace, address string, n int) ([]int, error) {
	return freeport.GetWhere(n, func(port int) (free bool) {
		err := ns.do(func() error {
			free = freeport.Free(address, port)
			return nil
		})
		return free && err == nil
	})
}
