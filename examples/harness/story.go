package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// story founds a cluster, switches over, loses a host, and gets it back.
func story(w io.Writer) (err error) {
	c := newCluster("a", "b", "c")
	say := func(format string, args ...any) {
		fmt.Fprintf(w, "%5.0fs  ", c.elapsed().Seconds())
		fmt.Fprintf(w, format+"\n", args...)
	}
	defer func() { // nothing is left running, whatever went wrong
		for _, h := range c.hosts {
			if h.reachable() {
				err = errors.Join(err, h.end())
			}
		}
		if err == nil {
			say("all nodes have ended in order")
		}
	}()
	for _, chapter := range []func(*cluster, func(string, ...any)) error{found, switchOver, loseHost, getItBack} {
		if err := chapter(c, say); err != nil {
			return err
		}
	}
	return nil
}

func found(c *cluster, say func(string, ...any)) error {
	say("a starts on an empty store")
	if err := c.host("a").start(); err != nil {
		return err
	}
	if err := c.until("a to lead", c.leads("a")); err != nil {
		return err
	}
	say("a: %s", c.host("a").node.Status().Reason.Text)
	for _, name := range []string{"b", "c"} {
		if err := c.host(name).start(); err != nil {
			return err
		}
	}
	if err := c.until("b and c to follow", c.leads("a")); err != nil {
		return err
	}
	for _, name := range []string{"b", "c"} {
		say("%s: %s", name, c.host(name).node.Status().Reason.Text)
	}
	return write(c, say, "a")
}

func switchOver(c *cluster, say func(string, ...any)) error {
	say("an operator asks for a switchover from a to b")
	asked := c.time()
	if err := c.admin.PutFailover(context.Background(), 0, dcs.Failover{Leader: "a", Candidate: "b"}); err != nil {
		return err
	}
	if err := c.until("b to lead", c.leads("b")); err != nil {
		return err
	}
	say("a: %s", c.host("a").decided("handover.release"))
	say("b: %s", c.host("b").decided("leader.promote"))
	say("done after %s of the harness's time", c.time().Sub(asked).Round(time.Second))
	return write(c, say, "b")
}

func loseHost(c *cluster, say func(string, ...any)) error {
	say("the host of b is switched off")
	lost := c.time()
	if err := c.host("b").kill(); err != nil {
		return err
	}
	if err := c.until("c to lead", c.leads("c")); err != nil {
		return err
	}
	say("c: %s", c.host("c").decided("vacant.acquire"))
	within := "within one ttl"
	if c.time().Sub(lost) > 32*time.Second {
		within = "too late"
	}
	say("c leads, %s", within)
	return write(c, say, "c")
}

func getItBack(c *cluster, say func(string, ...any)) error {
	say("the host of b is switched on again")
	b := c.host("b")
	b.server.power(true)
	if err := b.start(); err != nil {
		return err
	}
	if err := c.until("b to follow c", c.leads("c")); err != nil {
		return err
	}
	say("b: %s", b.decided("follow.rewind"))
	say("b: %s", b.node.Status().Reason.Text)
	for _, h := range c.hosts {
		rows, timeline := c.lab.contents(h.name)
		say("%s has %d rows on timeline %d", h.name, rows, timeline)
	}
	return nil
}

// write commits ten rows.
func write(c *cluster, say func(string, ...any), name string) error {
	for i := range 10 {
		if err := c.host(name).server.write(fmt.Sprint(name, i)); err != nil {
			return err
		}
	}
	say("a client writes ten rows to %s", name)
	return nil
}
