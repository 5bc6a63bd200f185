//go:build linux

package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Member is one line of GET /cluster.
type Member struct {
	Name, Role, State, Host string
	Port, Timeline          int
	Lag                     any // a number, or "unknown"
}

// REST sends a request to the node and returns status code and body. It waits at most 2 s, unless ctx allows less.
func (n *Node) REST(ctx context.Context, method, path string, body any) (code int, reply string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return n.Ask(ctx, method, path, body)
}

// Ask is REST with ctx's patience: a switchover answers when it is done.
func (n *Node) Ask(ctx context.Context, method, path string, body any) (code int, reply string, err error) {
	var send io.Reader
	if body != nil {
		send = bytes.NewReader([]byte(toJSON(body)))
	}
	req, err := http.NewRequestWithContext(ctx, method, n.Scheme+"://"+n.RESTAddress()+path, send)
	if err != nil {
		return 0, "", err
	}
	res, err := n.c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// Says tells the status code of a health check; 0: no answer.
func (n *Node) Says(ctx context.Context, path string) int {
	code, _, err := n.REST(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0
	}
	return code
}

// Members asks GET /cluster of the first node that answers.
func (c *Cluster) Members(ctx context.Context) ([]Member, error) {
	var errs []error
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		_, raw, err := n.REST(ctx, http.MethodGet, "/cluster", nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
			continue
		}
		var reply struct{ Members []Member }
		if err := json.Unmarshal([]byte(raw), &reply); err != nil {
			errs = append(errs, fmt.Errorf("%s: read /cluster: %w: %s", n.Name, err, tail(raw, 300)))
			continue
		}
		return reply.Members, nil
	}
	return nil, fmt.Errorf("no node answers: %w", errors.Join(errs...))
}

// Leader is the node that answers GET /primary with 200 now; nil: none does. Two are an error.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	var leader *Node
	for _, n := range c.Nodes {
		if !n.Running() || n.Says(ctx, "/primary") != http.StatusOK {
			continue
		}
		if leader != nil {
			return nil, fmt.Errorf("%s and %s both answer /primary with 200", leader.Name, n.Name)
		}
		leader = n
	}
	return leader, nil
}

// WaitLeader waits until a node other than those in not answers /primary with 200.
func (c *Cluster) WaitLeader(ctx context.Context, not ...*Node) (*Node, error) {
	var leader *Node
	err := poll(ctx, 50*time.Millisecond, "a leader", func() (bool, string) {
		var err error
		if leader, err = c.Leader(ctx); err != nil {
			return false, err.Error()
		}
		for _, n := range not {
			if leader == n {
				leader = nil
			}
		}
		return leader != nil, "no node, or the old one, answers /primary with 200; " + c.describe(ctx)
	})
	if err != nil {
		return nil, err
	}
	return leader, nil
}

// describe is what the cluster says of itself, for error messages.
func (c *Cluster) describe(ctx context.Context) string {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
	}
	members, err := c.Members(ctx)
	if err != nil {
		return err.Error()
	}
	return toJSON(members)
}

// PatchConfig changes the dynamic configuration.
func (c *Cluster) PatchConfig(ctx context.Context, patch map[string]any) error {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	code, reply, err := leader.REST(ctx, http.MethodPatch, "/config", patch)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("PATCH /config: %d: %s", code, reply)
	}
	return nil
}

// Switchover asks leader to hand over to candidate and waits for the answer.
func (c *Cluster) Switchover(ctx context.Context, leader, candidate *Node) error {
	body := map[string]any{"leader": leader.Name, "candidate": candidate.Name}
	code, reply, err := leader.Ask(ctx, http.MethodPost, "/switchover", body)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("POST /switchover: %d: %s", code, reply)
	}
	return nil
}

// WaitTTL waits until the leader's session has this TTL: a changed setting has arrived.
func (c *Cluster) WaitTTL(ctx context.Context, ttl time.Duration) error {
	return poll(ctx, 100*time.Millisecond, fmt.Sprintf("a session of %s", ttl), func() (bool, string) {
		kv, err := c.Store.Get(ctx, c.Key("leader"))
		if err != nil || kv == nil || kv.Session == "" {
			return false, fmt.Sprintf("leader key: %v, %v", kv, err)
		}
		has, err := c.Store.SessionTTL(ctx, kv.Session)
		return has == ttl, fmt.Sprintf("it has %s, %v", has, err)
	})
}
