package etcdtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// peers are proxies before the ports by which members talk to each other, one per member, that can cut off one member from the others. Who has
// made a connection is known by what etcd says in the first request on it.
type peers struct {
	listeners []net.Listener
	wg        sync.WaitGroup

	mu    sync.Mutex
	apart *apart
	links map[*peerLink]struct{}
}

// apart is a member that hears of no other, and of whom no other hears.
type apart struct {
	id   string // as members name themselves to each other
	port int    // where it listens to the others
}

// peerLink is a connection of one member to another one.
type peerLink struct {
	from           string // "": not told
	to             int    // port
	client, server net.Conn
}

func (l *peerLink) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// cuts says whether l is a connection of a, or may be.
func (a *apart) cuts(l *peerLink) bool {
	return a != nil && (l.to == a.port || l.from == a.id || l.from == "")
}

// newPeers starts a proxy before each port, and returns where they listen.
func newPeers(ports []int) (*peers, []int, error) {
	p := &peers{links: map[*peerLink]struct{}{}}
	var fronts []int
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.close()
			return nil, nil, err
		}
		p.listeners = append(p.listeners, l)
		fronts = append(fronts, l.Addr().(*net.TCPAddr).Port)
		p.wg.Go(func() { p.accept(l, port) })
	}
	return p, fronts, nil
}

// close ends the proxies once the members have ended.
func (p *peers) close() {
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.wg.Wait()
}

func (p *peers) accept(l net.Listener, to int) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			p.wg.Go(func() { p.serve(c, to) })
		}
	}
}

// serve carries one connection until either side or set ends it.
func (p *peers) serve(client net.Conn, to int) {
	defer client.Close()
	in := bufio.NewReader(client)
	head, from, err := readHead(in)
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(to)))
	if err != nil {
		return
	}
	l := &peerLink{from: from, to: to, client: client, server: server}
	defer l.close()
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	p.wg.Go(func() {
		defer l.close()
		_, _ = io.Copy(client, server)
	})
	if _, err := server.Write(head); err == nil {
		_, _ = io.Copy(server, in)
	}
}

// readHead reads the first request up to its body, and who has sent it.
func readHead(in *bufio.Reader) (head []byte, from string, err error) {
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, "", err
		}
		head = append(head, line...)
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(name, "X-Server-From") {
			from = strings.TrimSpace(value)
		}
	}
	return head, from, nil
}

func (p *peers) add(l *peerLink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apart.cuts(l) {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *peers) remove(l *peerLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// set cuts what connects a with other members, and refuses it from now on; nil: nothing is cut any more.
func (p *peers) set(a *apart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apart = a
	for l := range p.links {
		if a.cuts(l) {
			l.close()
		}
	}
}

// Isolate cuts the server off from the other members, though not from its clients. It needs Options.Isolable.
func (s *Server) Isolate(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask etcd for its status: %w", err)
	}
	defer resp.Body.Close()
	var status struct {
		Header struct {
			MemberID uint64 `json:"member_id,string"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return fmt.Errorf("read etcd's status: %w", err)
	}
	s.peers.set(&apart{id: strconv.FormatUint(status.Header.MemberID, 16), port: s.peerPort})
	return nil
}

// Rejoin ends an Isolate.
func (s *Server) Rejoin() { s.peers.set(nil) }
