// Package faultproxy is a TCP proxy for tests that need a bad network between a client and a server: connections that are
// refused or cut, answers that are lost after the request went through, hosts that fall silent, and delay.
//
//	p, err := faultproxy.Listen("127.0.0.1:2379")
//	defer p.Close()
//	client := dial(p.Addr())
//	p.Set(faultproxy.DropReplies) // requests arrive, answers do not
//	p.Set(faultproxy.Pass)        // healthy again; connections whose bytes were lost are closed
//
// It works on bytes and knows no protocol.
package faultproxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Mode says what the proxy does to its connections.
type Mode int

// The modes of a Proxy.
const (
	Pass        Mode = iota // forwards both ways
	Cut                     // closes what is open and what comes: a process that is gone
	DropReplies             // forwards what the client sends, swallows what the server answers
	HalfOpen                // connections stay open and new ones are accepted, but no byte passes: a host that fell silent
)

// Proxy forwards connections to one target. Its methods may be called at any time from any goroutine.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup
	accepted atomic.Int64
	requests atomic.Int64 // bytes from clients
	replies  atomic.Int64 // bytes from the server

	mu     sync.Mutex
	mode   Mode
	delay  time.Duration
	watch  func([]byte)
	links  map[*link]struct{}
	closed bool
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	deaf           bool // its answers are swallowed, whatever the mode
	lossy          bool // bytes were swallowed: it cannot be healed, only closed
}

// Listen starts a proxy on a free port of 127.0.0.1 that forwards to target (host:port).
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, links: map[*link]struct{}{}}
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// Addr is where clients connect (host:port).
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted counts the connections that clients have made so far.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Bytes counts what clients and the server have sent so far, whether it was forwarded or not.
func (p *Proxy) Bytes() (fromClients, fromServer int64) { return p.requests.Load(), p.replies.Load() }

// Set changes the mode for open and future connections. Going back to Pass closes the connections that lost bytes.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	for l := range p.links {
		if m == Cut || m == Pass && (l.lossy || l.deaf) {
			l.close()
		}
	}
}

// DropRepliesOfOpen swallows the answers on the connections that are open now, until Set(Pass) closes them. New ones are not touched.
func (p *Proxy) DropRepliesOfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.deaf = true
	}
}

// SetDelay delays every piece of data by d, in each direction.
func (p *Proxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Watch calls f with each piece of data that a client has sent, before it is forwarded; the connection waits for f. nil ends that.
func (p *Proxy) Watch(f func(request []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = f
}

// Close ends the proxy and all its connections, and waits for its goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	err := p.listener.Close()
	for l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.accepted.Add(1)
		p.wg.Add(1)
		go p.serve(c)
	}
}

// serve carries one connection until either side or the proxy ends it.
func (p *Proxy) serve(client net.Conn) {
	defer p.wg.Done()
	defer client.Close()
	if p.current() == Cut {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	l := &link{client: client, server: server}
	if !p.add(l) {
		l.close()
		return
	}
	defer p.remove(l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.pump(l, l.client, l.server, true)
		l.close()
	}()
	p.pump(l, l.server, l.client, false)
	l.close()
	<-done
}

// pump copies from one side to the other as the mode of the moment says.
func (p *Proxy) pump(l *link, from, to net.Conn, request bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if request {
			p.requests.Add(int64(n))
		} else {
			p.replies.Add(int64(n))
		}
		if n > 0 && request {
			p.show(buf[:n])
		}
		if n > 0 && p.forward(l, request) {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) show(request []byte) {
	p.mu.Lock()
	watch := p.watch
	p.mu.Unlock()
	if watch != nil {
		watch(request)
	}
}

// forward says whether bytes that were just read may pass, after the delay.
func (p *Proxy) forward(l *link, request bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.delay; d > 0 {
		p.mu.Unlock()
		<-time.After(d)
		p.mu.Lock()
	}
	if p.mode == HalfOpen || (p.mode == DropReplies || l.deaf) && !request {
		l.lossy = true
		return false
	}
	return p.mode != Cut
}

func (p *Proxy) current() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Cut {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}
