package hatest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// FormatDecision writes a decision for people: the rule and its sentence, a line for each action, and when the node looks again.
func FormatDecision(now time.Time, d ha.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Reason.Rule, d.Reason.Text)
	for _, a := range d.Do {
		fmt.Fprintf(&b, "  do %s\n", FormatAction(now, a))
	}
	if len(d.Do) == 0 {
		fmt.Fprintf(&b, "  next %s", relative(now, d.Next))
		if !d.Until.IsZero() {
			fmt.Fprintf(&b, ", until %s", relative(now, d.Until))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// relative is a time as seconds from now.
func relative(now, t time.Time) string { return fmt.Sprintf("%+.2fs", t.Sub(now).Seconds()) }

// FormatAction writes an action with what matters of it.
func FormatAction(now time.Time, a ha.Action) string {
	switch a := a.(type) {
	case ha.RunTask:
		return formatTask(now, a)
	case ha.CancelTask:
		return "cancel task: " + a.Cause
	case ha.GiveUpRequest:
		return "give up request: " + a.Cause
	case ha.KillServer:
		return "kill: " + a.Cause
	case ha.AskFailsafe:
		return strings.TrimSpace("ask failsafe " + strings.Join(slices.Sorted(maps.Keys(a.Members)), " "))
	case ha.Reply:
		return formatReply(now, a)
	case ha.ArmFence:
		return "arm fence until " + relative(now, a.Order.Kill)
	case ha.ArmWatchdog:
		return formatWatchdog(now, a.Order)
	case ha.AwaitPeer:
		return fmt.Sprintf("%s at %s", a.Name(), a.LSN)
	case ha.EnsureSlots:
		return "slots " + strings.Join(a.Want, " ")
	case ha.EndHandover:
		return strings.TrimSuffix("end hand-over: "+a.Why, ": ")
	case ha.Quit:
		return strings.TrimSuffix("quit: "+a.Problem, ": ")
	}
	return formatStoreAction(a)
}

func formatReply(now time.Time, a ha.Reply) string {
	switch {
	case a.Promise != nil:
		return "reply: accepted until " + relative(now, a.Promise.Until)
	case a.Refused != "":
		return "reply: refused: " + a.Refused
	}
	return a.Name()
}

func formatStoreAction(a ha.Action) string {
	switch a := a.(type) {
	case ha.AcquireKey:
		s := fmt.Sprintf("acquire, reserving timeline %d", a.Request.Timeline)
		if a.Request.Takeover != nil {
			s = "acquire: take the key over from session " + a.Request.Takeover.Meta.Session
		}
		if e := a.Request.Expect; !e.IgnoreInitialize && e.InitializeCreated == 0 {
			s += ", if there is no /initialize"
		} else if !e.IgnoreInitialize {
			s += fmt.Sprintf(", if /initialize is the one of version %d", a.Request.Expect.InitializeCreated)
		}
		return s
	case ha.ReleaseKey:
		return fmt.Sprintf("release, member %s %s", a.Request.Member.Role, a.Request.Member.State)
	case ha.Publish:
		return fmt.Sprintf("publish %s %s", a.Member.Role, a.Member.State)
	case ha.ClearFailover:
		return "clear failover: " + a.Why
	case ha.WriteInitialize:
		return "write initialize " + a.SystemID
	case ha.WriteHistory:
		s := "write history"
		for _, h := range a.History {
			s += fmt.Sprintf(" %d@%s", h.Timeline, postgres.LSN(h.LSN))
		}
		return s
	}
	return a.Name()
}

func formatTask(now time.Time, a ha.RunTask) string {
	t := &a.Task
	s := "start task " + string(t.Kind)
	word := func(ok bool, format string, args ...any) {
		if ok {
			s += " " + fmt.Sprintf(format, args...)
		}
	}
	word(t.Stop != "", "%s", t.Stop)
	word(t.Checkpoint, "after a checkpoint")
	word(t.AsPrimary, "as primary")
	word(t.Timeline != 0, "to timeline %d", t.Timeline)
	if t.Upstream != nil {
		word(true, "with %s", t.Upstream.Name)
		word(t.Upstream.Slot != "", "slot %s", t.Upstream.Slot)
	}
	word(len(t.Slots) > 0, "slots %s", strings.Join(t.Slots, " "))
	word(t.Rename, "keeping the old directory")
	word(!t.By.IsZero(), "by %s", relative(now, t.By))
	word(a.Why != "", "(%s)", a.Why)
	return s
}
