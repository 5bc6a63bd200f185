package rest

import (
	"bytes"
	"net"
)

// maxHead is how much of a request's head is read before it is passed on as it is.
const maxHead = 8 << 10

// firstRequest is a connection whose first request is put into the form that net/http accepts:
//
//   - A target without a leading slash gets one. HAProxy sends "OPTIONS OPTIONS/master HTTP/1.0" for the old spelling
//     "option httpchk OPTIONS/master", and net/http answers 400 to it before any handler runs.
//   - A request of HTTP/1.1 without a Host header becomes one of HTTP/1.0, which needs none: "option httpchk GET /primary
//     HTTP/1.1" sends none either.
//
// Load balancers make one request on a connection, so that later ones are left alone.
type firstRequest struct {
	net.Conn
	done bool
	head []byte // read, and not yet passed on
	err  error  // what ended the reading of head
}

// Read implements net.Conn.
func (c *firstRequest) Read(p []byte) (int, error) {
	if !c.done {
		c.done = true
		c.readHead()
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	if err := c.err; err != nil {
		c.err = nil
		return 0, err
	}
	return c.Conn.Read(p)
}

// readHead reads until the end of the first request's head, under the deadline that the server has set.
func (c *firstRequest) readHead() {
	buf := make([]byte, 0, 1<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, maxHead), buf...)
		}
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		complete := bytes.Contains(buf, []byte("\r\n\r\n")) || bytes.Contains(buf, []byte("\n\n"))
		foreign := len(buf) > 0 && (buf[0] < 'A' || buf[0] > 'z') && buf[0] != '\r' && buf[0] != '\n'
		if complete || foreign || err != nil || len(buf) == maxHead {
			c.head, c.err = repair(buf, complete), err
			return
		}
	}
}

// CloseWrite lets net/http end an answer without cutting off what the client still reads.
func (c *firstRequest) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// repair returns head, the beginning of a connection, as net/http accepts it. complete says that head holds all headers.
func repair(head []byte, complete bool) []byte {
	end := bytes.IndexByte(head, '\n')
	if end < 0 {
		return head
	}
	method, rest, ok := bytes.Cut(head[:end], []byte(" "))
	if !ok || len(rest) == 0 {
		return head
	}
	if proto := []byte("HTTP/1.1"); complete && !hasHost(head[end:]) {
		if line := bytes.TrimRight(rest, "\r"); bytes.HasSuffix(line, proto) {
			line[len(line)-1] = '0'
		}
	}
	target, _, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case len(target) == 0, target[0] == '/', target[0] == '*', bytes.Contains(target, []byte("://")), string(method) == "CONNECT":
		return head
	}
	out := make([]byte, 0, len(head)+1)
	out = append(out, head[:len(method)+1]...)
	out = append(out, '/')
	return append(out, head[len(method)+1:]...)
}

// hasHost looks for a Host header in the lines of a head.
func hasHost(lines []byte) bool {
	const name = "host:"
	for {
		next := bytes.IndexByte(lines, '\n')
		if next < 0 {
			return false
		}
		lines = lines[next+1:]
		if len(lines) >= len(name) && bytes.EqualFold(lines[:len(name)], []byte(name)) {
			return true
		}
	}
}
