package zookeeper_test

import (
	"encoding/binary"
	"io"
	"net"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestLayout holds names, values and lifetimes of a cluster's znodes to Patroni's, as a client of the plainest kind sees them. Beside them lies our
// tanist-guard, which Patroni passes over.
func TestLayout(t *testing.T) {
	servers := zktest.Start(t, zktest.Options{Config: []string{"maxSessionTimeout=120000"}})
	b := open(t, zookeeper.Config{Hosts: zktest.Addrs(servers), Folder: "/tanist-layout/batman/"})
	dcstest.Layout(t, b, nil, func(t testing.TB, folder string) map[string]dcstest.Stored {
		p := dialPlain(t, zktest.Addrs(servers)[0])
		defer p.c.Close()
		all := map[string]dcstest.Stored{}
		p.walk(strings.TrimSuffix(folder, "/"), all)
		delete(all, folder+"tanist-guard")
		return all
	})
}

// plain is a client that can ask for data and children, and nothing else.
type plain struct {
	t   testing.TB
	c   net.Conn
	xid uint32
}

func dialPlain(t testing.TB, addr string) *plain {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	p := &plain{t: t, c: c}
	hello := make([]byte, 4+8+4+8+4+16) // protocol, last zxid, timeout, session, password
	binary.BigEndian.PutUint32(hello[12:], 4000)
	binary.BigEndian.PutUint32(hello[24:], 16)
	p.send(hello)
	p.receive()
	return p
}

func (p *plain) send(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plain) receive() []byte {
	p.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(p.c, size[:]); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(p.c, b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// ask sends a request about a node and returns the answer behind its header.
func (p *plain) ask(op uint32, node string) []byte {
	p.t.Helper()
	p.xid++
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, p.xid), op)
	b = append(append(binary.BigEndian.AppendUint32(b, uint32(len(node))), node...), 0)
	p.send(b)
	answer := p.receive()
	if code := int32(binary.BigEndian.Uint32(answer[12:])); code != 0 {
		p.t.Fatalf("%s: ZooKeeper's error %d", node, code)
	}
	return answer[16:]
}

// text takes a length and as many bytes off b.
func text(b []byte) (string, []byte) {
	n := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n < 0 {
		return "", b
	}
	return string(b[:n]), b[n:]
}

// walk collects the nodes below a node.
func (p *plain) walk(node string, all map[string]dcstest.Stored) {
	p.t.Helper()
	const getData, getChildren = 4, 8
	value, stat := text(p.ask(getData, node))
	owner := binary.BigEndian.Uint64(stat[44:]) // behind two transactions, two times and three versions
	children := p.ask(getChildren, node)
	n := binary.BigEndian.Uint32(children)
	if n == 0 || value != "" {
		all[node] = dcstest.Stored{Value: value, Bound: owner != 0}
	}
	rest := children[4:]
	for range n {
		var name string
		name, rest = text(rest)
		p.walk(path.Join(node, name), all)
	}
}
