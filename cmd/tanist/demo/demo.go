package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/rest/restclient"
)

// Options say what is wanted.
type Options struct {
	Once    bool      // end after the story, instead of leaving the cluster to the user until ctx ends
	Out     io.Writer // the story
	Tanist  string    // the agent's program
	Command string    // how the user calls the operator's tool: "bin/tanistctl"
}

// demo is one run.
type demo struct {
	Options
	folder string
	hosts  []*host
	view   *view
	client *restclient.Client
}

// Run tells the story. It returns an error if a step did not succeed; by then everything has been stopped.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o}
	if d.folder, err = os.MkdirTemp("", "tanist-demo-"); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	d.say("Everything of this demo is in %s, logs included.", d.folder)
	if d.client, err = restclient.New(restclient.Options{}); err != nil {
		return err
	}
	defer func() {
		d.say("Stopping everything ...")
		d.stopAll()
		d.say("All processes have ended. What is left is the folder %s", d.folder)
	}()
	if err := d.setUp(); err != nil {
		return err
	}
	return d.tell(ctx)
}

// patience bounds each step of the story; it is no measure of how long one takes.
const patience = 90 * time.Second

// tell is the story.
func (d *demo) tell(ctx context.Context) error {
	start := time.Now()
	for _, h := range d.hosts {
		if err := h.start(); err != nil {
			return err
		}
	}
	defer d.view.close()
	if err := d.step(ctx, "three members that stream", d.view.healthy(len(d.hosts))); err != nil {
		return err
	}
	d.say("Three empty hosts became a cluster in %s.\n", since(start))

	w, err := startWriter(ctx, d.hosts)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := d.loseLeader(ctx, w); err != nil {
		return err
	}
	if err := d.switchOver(ctx, w); err != nil {
		return err
	}
	if err := d.count(ctx, w); err != nil {
		return err
	}
	if d.Once {
		return nil
	}
	d.say("%s\nThe cluster is yours until Ctrl-C.", d.commands())
	return d.follow(ctx)
}

// loseLeader kills the leader's host, shows who takes over and why, and brings the host back.
func (d *demo) loseLeader(ctx context.Context, w *writer) error {
	old := d.host(d.view.leader())
	lost := time.Now()
	d.say("A writer inserts rows. Now the host of %s is lost: agent, etcd member and PostgreSQL are killed.", old.name)
	w.reset()
	if err := old.kill(); err != nil {
		return err
	}
	if err := d.step(ctx, "another leader", d.view.leaderOtherThan(old.name)); err != nil {
		return err
	}
	if err := w.resumed(ctx, lost, patience); err != nil {
		return err
	}
	leader := d.host(d.view.leader())
	d.say("%s leads. Writes stood still for %s. (The lost leader's lease is %s here, where patroni.yml usually says 30 s;\nit begins anew if the lost host led etcd as well.)", leader.name, round(w.outage()), ttl)
	d.explain(ctx, leader, lost)

	d.say("The host of %s comes back.", old.name)
	if err := old.start(); err != nil {
		return err
	}
	return d.step(ctx, "three members that stream", d.view.healthy(len(d.hosts)))
}

// switchOver moves the leadership in order, to the member that was lost before.
func (d *demo) switchOver(ctx context.Context, w *writer) error {
	from := d.host(d.view.leader())
	to := d.other(from)
	d.say("A planned switchover: tanistctl switchover --leader %s --candidate %s --force", from.name, to.name)
	w.reset()
	asked := time.Now()
	answer, err := d.client.Switchover(ctx, from.apiURL(), restclient.HandoverRequest{Leader: from.name, Candidate: to.name})
	if err != nil {
		return fmt.Errorf("ask for the switchover: %w", err)
	}
	d.say("%s answers: %s", from.name, answer.Body)
	if err := w.resumed(ctx, asked, patience); err != nil {
		return err
	}
	if err := d.step(ctx, "three members that stream", d.view.healthy(len(d.hosts))); err != nil {
		return err
	}
	d.say("Writes stood still for %s.\n", round(w.outage()))
	return nil
}

// explain prints what the new leader has decided since the old one was lost.
func (d *demo) explain(ctx context.Context, leader *host, lost time.Time) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	x, err := d.client.Explain(ctx, leader.apiURL())
	if err != nil {
		d.say("%s does not explain itself: %v", leader.name, err)
		return
	}
	d.say("Why? tanistctl explain asks it:")
	for _, e := range x.Events {
		section, _, _ := strings.Cut(string(e.Rule), ".")
		if e.At.After(lost) && section != "task" && section != "start" {
			d.say("  %6.2fs  %-24s %s", e.At.Sub(lost).Seconds(), e.Rule, e.Sentence)
		}
	}
	d.say("")
}

// count says whether every acknowledged row is there.
func (d *demo) count(ctx context.Context, w *writer) error {
	acknowledged, missing, err := w.check(ctx)
	if err != nil {
		return err
	}
	d.say("%d rows were acknowledged, %d of them are missing (replication is asynchronous here).", acknowledged, missing)
	return nil
}

// step waits for a picture of the cluster, and prints the table whenever it changes.
func (d *demo) step(ctx context.Context, what string, reached func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if err := d.view.refresh(ctx); err == nil && reached() {
			return d.view.print()
		}
		select {
		case <-d.view.settled():
			if err := d.view.print(); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the agents' logs are in %s", what, context.Cause(ctx), d.folder)
		case h := <-d.died():
			return fmt.Errorf("wait for %s: the agent of %s has ended; its log is %s", what, h.name, h.logFile())
		case <-d.view.changed():
		}
	}
}

// follow prints the table whenever it changes, until ctx ends.
func (d *demo) follow(ctx context.Context) error {
	for {
		_ = d.view.refresh(ctx) // an unreachable store is shown by silence, and tried again
		select {
		case <-ctx.Done():
			return nil
		case <-d.view.settled():
			if err := d.view.print(); err != nil {
				return err
			}
		case <-d.view.changed():
		}
	}
}

// died tells the first agent that has ended although nobody killed it; nil if all run.
func (d *demo) died() <-chan *host {
	for _, h := range d.hosts {
		if h.ended() {
			c := make(chan *host, 1)
			c <- h
			return c
		}
	}
	return nil
}

func (d *demo) host(name string) *host {
	for _, h := range d.hosts {
		if h.name == name {
			return h
		}
	}
	return d.hosts[0]
}

func (d *demo) other(than *host) *host {
	for _, h := range d.hosts {
		if h != than {
			return h
		}
	}
	return nil
}

func (d *demo) commands() string {
	first := d.hosts[0]
	return fmt.Sprintf(`Try, in another terminal:
  %[1]s -c %[2]s list
  %[1]s -c %[2]s explain
  %[1]s -c %[2]s switchover --force
  curl -s http://%[3]s/cluster
  %[4]s
  kill -9 %[5]d      # the leader's agent alone`,
		d.Command, first.configFile(), first.rest, d.psql(), d.host(d.view.leader()).pid())
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

func since(t time.Time) time.Duration { return round(time.Since(t)) }

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// path is a file of the demo.
func (d *demo) path(elements ...string) string {
	return filepath.Join(append([]string{d.folder}, elements...)...)
}
