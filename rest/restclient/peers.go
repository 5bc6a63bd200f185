package restclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

var _ ha.Peers = (*Client)(nil)

// Poll implements ha.Peers.
func (c *Client) Poll(ctx context.Context, members []dcs.Member) []ha.PeerAnswer {
	answers := make([]ha.PeerAnswer, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { answers[i] = c.poll(ctx, m, "") })
	}
	all.Wait()
	return answers
}

// awaitPause is the shortest time between two questions about a position; members of Patroni are polled with it.
const awaitPause = 100 * time.Millisecond

// Await implements ha.Peers. A tanist member answers when its position has reached lsn; a Patroni member does not know the
// question, answers at once, and is asked again every 100 ms.
func (c *Client) Await(ctx context.Context, m dcs.Member, lsn postgres.LSN) (ha.PeerAnswer, error) {
	ticks := time.NewTicker(awaitPause)
	defer ticks.Stop()
	for {
		answer := c.poll(ctx, m, "wait_lsn="+url.QueryEscape(lsn.String()))
		if answer.Reachable && answer.Position.LSN >= lsn {
			return answer, nil
		}
		select {
		case <-ctx.Done():
			return answer, fmt.Errorf("wait for %s to reach %s: %w", m.Name, lsn, context.Cause(ctx))
		case <-ticks.C:
		}
	}
}

// poll asks one member; query is added to its api_url.
func (c *Client) poll(ctx context.Context, m dcs.Member, query string) ha.PeerAnswer {
	ctx, cancel := context.WithTimeout(ctx, c.opt.PollTimeout)
	defer cancel()
	answer, err := c.ask(ctx, m.Data.APIURL, query)
	answer.Name = m.Name
	if err != nil {
		answer.Problem = err.Error()
	}
	return answer
}

func (c *Client) ask(ctx context.Context, apiURL, query string) (ha.PeerAnswer, error) {
	if apiURL == "" {
		return ha.PeerAnswer{}, errors.New("its member key has no api_url")
	}
	u, err := url.Parse(apiURL)
	if err != nil {
		return ha.PeerAnswer{}, err
	}
	target := u.EscapedPath()
	if target == "" || target == "/" {
		target = "/patroni"
	}
	if query != "" {
		target += "?" + query
	}
	a, err := c.Do(ctx, http.MethodGet, apiURL, target, nil)
	if err != nil {
		return ha.PeerAnswer{}, err
	}
	if a.Code >= http.StatusInternalServerError && len(a.Body) == 0 {
		return ha.PeerAnswer{}, fmt.Errorf("status %d", a.Code)
	}
	return parseAnswer(a)
}

// peerStatus is what an election needs of GET /patroni. Nothing else is read, so that nothing else can make a member
// unreadable.
type peerStatus struct {
	State dcs.State      `json:"state"`
	Role  dcs.Role       `json:"role"`
	XLog  *peerXLog      `json:"xlog"`
	WAL   *peerXLog      `json:"wal"` // a later name of xlog
	TL    *uint32        `json:"timeline"`
	Tags  map[string]any `json:"tags"`

	WatchdogFailed bool   `json:"watchdog_failed"`
	SystemID       string `json:"database_system_identifier"`
	Tanist         string `json:"tanist"`
	Start          string `json:"tanist_start"`
	Leads          bool   `json:"tanist_leads"`
	Patroni        struct {
		Scope string `json:"scope"`
		Name  string `json:"name"`
	} `json:"patroni"`
	Age float64 `json:"tanist_age"`
}

// peerXLog is the position of a member; null counts as absent.
type peerXLog struct {
	Location *uint64 `json:"location"`
	Received *uint64 `json:"received_location"`
	Replayed *uint64 `json:"replayed_location"`
}

func parseAnswer(a Answer) (ha.PeerAnswer, error) {
	var s peerStatus
	if err := json.Unmarshal(a.Body, &s); err != nil {
		return ha.PeerAnswer{}, fmt.Errorf("the answer (status %d) cannot be read: %w", a.Code, err)
	}
	answer := ha.PeerAnswer{
		Reachable: true, StartID: s.Start, Role: s.Role, State: s.State, Tags: parseTags(s.Tags),
		Scope: s.Patroni.Scope, SelfName: s.Patroni.Name, Leads: s.Leads,
		WatchdogFailed: s.WatchdogFailed, SystemID: s.SystemID, Age: time.Duration(s.Age * float64(time.Second)),
	}
	if s.XLog == nil {
		s.XLog = s.WAL
	}
	if s.XLog == nil {
		answer.Problem = "its server does not answer, so it told no position"
		answer.InRecovery = !mayWrite(s.Role)
	} else {
		answer.InRecovery = s.XLog.Location == nil
		answer.Position.LSN = s.XLog.position()
		if s.TL != nil {
			answer.Position.Timeline = postgres.Timeline(*s.TL)
		}
	}
	answer.Writable = !answer.InRecovery && !down(s.State)
	return answer, nil
}

func (x peerXLog) position() postgres.LSN {
	furthest := uint64(0)
	for _, at := range []*uint64{x.Location, x.Received, x.Replayed} {
		if at != nil {
			furthest = max(furthest, *at)
		}
	}
	return postgres.LSN(furthest)
}

// mayWrite says whether a member of that role has a server that may be writable, when the server itself says nothing.
func mayWrite(r dcs.Role) bool {
	switch r {
	case dcs.RoleReplica, dcs.RoleStandbyLeader, dcs.RoleDemoted, dcs.RoleUninitialized:
		return false
	}
	return true
}

// down says whether no server runs in that state. A server that is stopping, or that does not answer, may still
// acknowledge.
func down(s dcs.State) bool {
	switch s {
	case dcs.StateStopped, dcs.StateCrashed, dcs.StateStartFailed, dcs.StateInitFailed, dcs.StateCreating:
		return true
	}
	return false
}
