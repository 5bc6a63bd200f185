// Package freeport finds ports for servers that are started a moment later, as tests and demonstrations do.
//
// A port that the kernel names ("127.0.0.1:0") was free then, and is one of those that it gives to outgoing connections as well: until the server
// binds it, any process may have it. The ports of this package are below that range (ip_local_port_range begins at 32768 on Linux), and each
// process takes them from blocks that no other process of this package has: it listens on the first port of a block for as long as it
// lives.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Blocks of ports. A test process needs a few hundred ports at most.
const (
	first = 10000
	last  = 32000
	size  = 100
)

var errNone = errors.New("no free port is left between " + strconv.Itoa(first) + " and " + strconv.Itoa(last))

// pool is what this process has claimed.
type pool struct {
	mu    sync.Mutex
	held  []net.Listener // the first port of each claimed block: it is never closed
	next  int            // the next port to give
	until int            // the end of the present block
}

var process pool

// Get returns n different ports that are free on 127.0.0.1, for TCP and for UDP.
func Get(n int) ([]int, error) {
	return GetWhere(n, func(port int) bool { return Free("127.0.0.1", port) })
}

// GetWhere returns n different ports that free says are free. No port is given twice to a process.
func GetWhere(n int, free func(port int) bool) ([]int, error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	var ports []int
	for len(ports) < n {
		port, err := process.take()
		if err != nil {
			return nil, err
		}
		if free(port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// take gives the next port of the present block, or of another one.
func (p *pool) take() (int, error) {
	if p.next == p.until {
		if err := p.claim(); err != nil {
			return 0, err
		}
	}
	p.next++
	return p.next - 1, nil
}

// claim takes a block that nobody has.
func (p *pool) claim() error {
	for _, i := range rand.Perm((last - first) / size) {
		begin := first + i*size
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(begin))
		if err != nil {
			continue
		}
		p.held = append(p.held, l)
		p.next, p.until = begin+1, begin+size
		return nil
	}
	return errNone
}

// Free says whether a server could listen there now.
func Free(address string, port int) bool {
	at := net.JoinHostPort(address, strconv.Itoa(port))
	l, err := net.Listen("tcp4", at)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp4", at)
	if err != nil {
		return false
	}
	return u.Close() == nil
}
