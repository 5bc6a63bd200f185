package faultproxy_test

import (
	"bufio"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/internal/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that answers each line with itself, and tells what it got.
func echo(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	lines := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					lines <- in.Text()
					if _, err := c.Write([]byte(in.Text() + "\n")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, p *faultproxy.Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{t: t, Conn: c, in: bufio.NewReader(c)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns the next line, "closed", or "silence".
func (c *client) hear(patience time.Duration) string {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := c.in.ReadString('\n')
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return "silence"
	}
	if err != nil {
		return "closed"
	}
	return line[:len(line)-1]
}

const (
	long  = 30 * time.Second
	quick = 50 * time.Millisecond
)

func TestModes(t *testing.T) {
	target, got := echo(t)
	p, err := faultproxy.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("%s: got %q, want %q", what, got, want)
		}
	}

	c := dial(t, p)
	c.say("one")
	expect("request", <-got, "one")
	expect("answer", c.hear(long), "one")

	p.Set(faultproxy.DropReplies)
	c.say("two")
	expect("request", <-got, "two")
	expect("dropped answer", c.hear(quick), "silence")
	p.Set(faultproxy.Pass)
	expect("healed", c.hear(long), "closed")

	c = dial(t, p)
	c.say("three")
	expect("request", <-got, "three")
	expect("answer", c.hear(long), "three")
	p.Set(faultproxy.HalfOpen)
	c.say("four")
	expect("half open", c.hear(quick), "silence")
	p.Set(faultproxy.Cut)
	expect("cut", c.hear(long), "closed")
	expect("refused", dial(t, p).hear(long), "closed")
	p.Set(faultproxy.Pass)

	c = dial(t, p)
	c.say("five")
	expect("request", <-got, "five")
	expect("answer", c.hear(long), "five")
	p.DropRepliesOfOpen()
	c.say("six")
	expect("request", <-got, "six")
	expect("deaf", c.hear(quick), "silence")
	fresh := dial(t, p)
	p.SetDelay(quick)
	fresh.say("seven")
	expect("answer on a new connection", fresh.hear(long), "seven")
	p.SetDelay(0)
	seen, held := make(chan string), make(chan struct{})
	p.Watch(func(b []byte) { seen <- string(b); <-held })
	fresh.say("eight")
	expect("watched", <-seen, "eight\n")
	expect("held back", fresh.hear(quick), "silence")
	close(held)
	expect("let go", fresh.hear(long), "eight")
	p.Watch(nil)
	if n := p.Accepted(); n != 5 {
		t.Fatalf("accepted %d connections, want 5", n)
	}
}
