package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// callbackState is what was true when the user's commands were told last.
type callbackState struct {
	role  dcs.Role
	up    bool      // the server ran and answered
	since time.Time // when that was seen first
	told  bool      // some command was told in the life of this agent, configured or not
}

// next derives the notifications from what was told and what is true now. They are Patroni's:
//
//   - on_start when the server came up in its old role, and when the agent finds it running;
//   - on_stop, with the role that it had, when the agent has stopped it;
//   - on_role_change alone when it came up in another role than a primary's (a demoted leader follows), when it was promoted, and, with
//     "demoted", when a primary failed to start and its leader key was given up.
//
// Nothing is told of a server that is still closed, or while work on it is under way.
func (c callbackState) next(v *View) ([]Notification, callbackState) {
	if !v.Local.Known || v.Local.Closed || v.Local.Stale || v.changing() {
		return nil, c
	}
	switch role := v.role(); {
	case v.running() && v.Local.Obs.SQL == nil:
		return nil, c // it does not answer: nothing is known
	case v.running() && !c.up:
		return c.cameUp(v, role)
	case v.running() && role != c.role:
		c.role, c.told = role, true
		return v.notify("on_role_change", role), c
	case v.running():
		return nil, c
	case c.up:
		return c.wentDown(v)
	case c.role == dcs.RolePrimary && role == dcs.RoleDemoted && v.Local.StartFailures > 0:
		c.role = dcs.RoleDemoted
		return v.notify("on_role_change", dcs.RoleDemoted), c
	}
	return nil, c
}

func (c callbackState) cameUp(v *View, role dcs.Role) ([]Notification, callbackState) {
	action := "on_start"
	if c.told && role != c.role && (c.role == dcs.RolePrimary || c.role == dcs.RoleDemoted) {
		action = "on_role_change"
	}
	return v.notify(action, role), callbackState{role: role, up: true, since: v.Local.At, told: true}
}

// wentDown keeps the role, so that a leader that comes back as a standby has changed it. A crash tells nothing.
func (c callbackState) wentDown(v *View) ([]Notification, callbackState) {
	c.up = false
	if l := v.LastTask; l != nil && l.Task.Kind == postgres.TaskStop && l.Fault == nil && l.At.After(c.since) {
		return v.notify("on_stop", c.role), c
	}
	return nil, c
}

// changing says whether a task is under way that changes what callbacks tell.
func (v *View) changing() bool {
	return v.Task != nil && v.Task.Task.Kind != postgres.TaskCheckpoint && v.Task.Task.Kind != postgres.TaskLineage
}

// notify is the call of the user's command for action, if there is one.
func (v *View) notify(action string, role dcs.Role) []Notification {
	command := v.Settings.Postgres.Callbacks[action]
	if command == "" {
		return nil
	}
	return []Notification{{Action: action, Role: role, Command: command}}
}
