package guard

import (
	"fmt"
	"strings"

	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
)

// RefusedError says that a guard does not take an order. Its Hint tells an operator what to change, where something can be.
type RefusedError struct {
	Guard  int    // process id of the guard
	PID    int    // of the postmaster that was meant; 0: the one that is about to be started
	Why    string // "the guard has fired"
	Advice string
	Fired  bool // the guard has fired: it is ending, or has ended, the server
}

func (e *RefusedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("guard %d refused: %s", e.Guard, e.Why)
	}
	return fmt.Sprintf("guard %d refused to guard process %d: %s", e.Guard, e.PID, e.Why)
}

// Hint is advice for an operator, or "".
func (e *RefusedError) Hint() string { return e.Advice }

func (g *Guard) refusal(why warden.Result, p *process, r warden.Request) error {
	e := &RefusedError{Guard: p.pid, PID: r.PID, Fired: why == warden.ResultFired}
	switch why {
	case warden.ResultFired:
		e.Why = "it has fired: the server is being ended" + left(p.state())
	case warden.ResultAlive:
		e.Why = fmt.Sprintf("postmaster %d, which it guards, still runs", p.state().PID)
	case warden.ResultNotArmed:
		e.Why = "it is not armed for a server that is about to be started"
	case warden.ResultGone:
		e.Why = "there is no such process any more"
	case warden.ResultPermission:
		e.Why = "it may not signal that process"
		e.Advice = "run the agent as the user that owns the server, without a sandbox between them"
	case warden.ResultOtherUser:
		e.Why = "that process belongs to another user"
		e.Advice = "run the agent as the user that owns the server"
	case warden.ResultNamespace:
		e.Why = "that process is in another pid namespace"
		e.Advice = "run the agent and the server in the same container"
	case warden.ResultUnreadable:
		e.Why = "/proc does not show that process"
		e.Advice = "mount /proc without hidepid for the agent's user, and let it see the processes of its own user"
	case warden.ResultPast:
		e.Why = "the deadline has passed already"
	default:
		e.Why = fmt.Sprintf("it does not understand (code %d)", why)
	}
	return e
}

// left says what a sweep has found last, "" if nothing.
func left(r warden.Reply) string {
	if r.Left == 0 && r.Attached == 0 {
		return ""
	}
	return " (" + stuck(r) + ")"
}

// stuck names the processes that cannot be ended.
func stuck(r warden.Reply) string {
	text := fmt.Sprintf("%d processes left, %d attached to its shared memory", r.Left, r.Attached)
	var pids []string
	for _, pid := range r.Stuck {
		if pid != 0 {
			pids = append(pids, fmt.Sprint(pid))
		}
	}
	if len(pids) > 0 {
		text += "; hanging in the kernel: " + strings.Join(pids, ", ")
	}
	return text
}
