package zookeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxAnswer bounds what is read as one answer: a length beyond it is no length, but the first bytes of something else.
const maxAnswer = 64 << 20

// maxRequest is what a server takes by default (jute.maxbuffer).
const maxRequest = 0xfffff

// hello is the outcome of a handshake.
type hello struct {
	session  int64
	password []byte // proves the session to the next server
	timeout  time.Duration
}

// reply is the answer to a request.
type reply struct {
	zxid int64
	code code
	body []byte
}

// conn is one connection, with one session of ZooKeeper on it. Answers come in the order of requests, and requests may be sent before
// earlier ones are answered: a read that is sent after a write sees that write.
type conn struct {
	server string
	hello
	net    net.Conn
	done   chan struct{} // closed when the connection has ended; err is set then
	reader sync.WaitGroup

	mu      sync.Mutex
	err     error
	xid     int32
	waiting map[int32]chan reply
	watches map[*watch]struct{}
	armed   map[string]bool // folders that the server watches for this connection
}

// greet performs the handshake on raw for a new session (known.session is 0) or a known one, and starts the reader. errExpired: the
// server does not know the session any more.
func greet(ctx context.Context, raw net.Conn, server string, known hello, auth []Auth) (*conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	h, err := handshake(raw, known)
	if !stop() || err != nil {
		_ = raw.Close()
		if ctx.Err() != nil && !errors.Is(err, errExpired) {
			err = errMute
		}
		return nil, err
	}
	c := &conn{
		server: server, hello: h, net: raw, done: make(chan struct{}),
		waiting: map[int32]chan reply{}, watches: map[*watch]struct{}{}, armed: map[string]bool{},
	}
	c.reader.Go(c.read)
	if err := c.authenticate(ctx, auth); err != nil {
		c.close(err)
		return nil, err
	}
	return c, nil
}

// handshake asks for a session. lastZxidSeen is 0: reads do not rely on the server being up to date, as a write precedes them.
func handshake(raw net.Conn, known hello) (hello, error) {
	var e encoder
	e.int32(0) // length, filled in below
	e.int32(0) // version of the protocol
	e.int64(0)
	e.int32(int32(known.timeout.Milliseconds()))
	e.int64(known.session)
	if known.password == nil {
		known.password = make([]byte, 16)
	}
	e.bytes(known.password)
	e.bool(false) // not read-only
	binary.BigEndian.PutUint32(e.buf, uint32(len(e.buf)-4))
	if _, err := raw.Write(e.buf); err != nil {
		return hello{}, err
	}
	body, err := readPacket(raw, 1<<10)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errHungUp
	}
	if err != nil {
		return hello{}, err
	}
	d := decoder{buf: body}
	_ = d.int32() // version of the protocol
	h := hello{timeout: time.Duration(d.int32()) * time.Millisecond, session: d.int64()}
	h.password = append([]byte(nil), d.bytes()...)
	switch {
	case d.err != nil:
		return hello{}, errGarbage
	case h.session == 0:
		return hello{}, errExpired
	}
	return h, nil
}

func readPacket(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(limit) {
		return nil, errGarbage
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// authenticate shows the credentials.
func (c *conn) authenticate(ctx context.Context, auth []Auth) error {
	for _, a := range auth {
		var e encoder
		e.int32(0)
		e.string(a.Scheme)
		e.bytes([]byte(a.Credential))
		r, _, err := c.do(ctx, request{opAuth, e.buf})
		if err != nil {
			return err
		}
		if r[0].code != 0 {
			return fmt.Errorf("show the credential of scheme %s: %w", a.Scheme, r[0].code)
		}
	}
	return nil
}

// request is one to send.
type request struct {
	op   int32
	body []byte
}

// do sends requests together and waits for all answers. sent tells whether any of them may have reached the server.
func (c *conn) do(ctx context.Context, requests ...request) (answers []reply, sent bool, err error) {
	channels, err := c.send(ctx, requests)
	if err != nil {
		return nil, channels != nil, err
	}
	for _, ch := range channels {
		select {
		case r := <-ch:
			answers = append(answers, r)
			continue
		case <-c.done:
		case <-ctx.Done():
			return nil, true, errSilent
		}
		select { // what came before the end counts
		case r := <-ch:
			answers = append(answers, r)
		default:
			return nil, true, c.err
		}
	}
	return answers, true, nil
}

// send writes requests. Channels are nil if nothing can have reached the server.
func (c *conn) send(ctx context.Context, requests []request) ([]chan reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	var e encoder
	channels := make([]chan reply, 0, len(requests))
	for _, r := range requests {
		if 8+len(r.body) > maxRequest {
			return nil, errTooLarge
		}
		ch := make(chan reply, 1)
		channels = append(channels, ch)
		xid := c.number(r.op)
		c.waiting[xid] = ch
		e.int32(int32(8 + len(r.body)))
		e.int32(xid)
		e.int32(r.op)
		e.buf = append(e.buf, r.body...)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := c.net.Write(e.buf)
	if !stop() && err == nil {
		err = errSilent // the deadline may have been set after the write: what comes next would fail
	}
	if err != nil {
		_ = c.net.Close() // the reader notices
		return channels, err
	}
	return channels, nil
}

// number is that of the next request; some have fixed ones.
func (c *conn) number(op int32) int32 {
	switch op {
	case opPing:
		return xidPing
	case opAuth:
		return xidAuth
	}
	c.xid = (c.xid + 1) & 0x7fffffff
	return c.xid
}

// read delivers answers and events until the connection ends.
func (c *conn) read() {
	for {
		body, err := readPacket(c.net, maxAnswer)
		if err == nil {
			err = c.deliver(body)
		}
		if err != nil {
			c.ended(err)
			return
		}
	}
}

func (c *conn) deliver(body []byte) error {
	d := decoder{buf: body}
	xid, r := d.int32(), reply{zxid: d.int64(), code: code(d.int32())}
	r.body = d.buf
	if d.err != nil {
		return errGarbage
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if xid == xidEvent {
		kind, _, path := d.int32(), d.int32(), d.string()
		for w := range c.watches {
			w.tell(kind, path)
		}
		return d.err
	}
	if ch := c.waiting[xid]; ch != nil {
		delete(c.waiting, xid)
		ch <- r
	}
	return nil
}

// ended lets everybody know.
func (c *conn) ended(err error) {
	_ = c.net.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = fmt.Errorf("the connection broke: %w", err)
	}
	for w := range c.watches {
		w.end()
	}
	c.watches = nil
	close(c.done)
}

// close ends the connection; why is what pending requests are told.
func (c *conn) close(why error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = why
	}
	c.mu.Unlock()
	_ = c.net.Close()
	c.reader.Wait()
}

// alive says whether the connection has not ended.
func (c *conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil
}
