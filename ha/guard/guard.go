package guard

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Config is what New needs.
type Config struct {
	Executable string                        // program whose main calls Main; "": this one
	SocketDir  string                        // where a socket file may lie, beside the data directory; "": abstract socket only
	Boottime   func(time.Time) time.Duration // a time of the node's clock in CLOCK_BOOTTIME: bootclock.Clock.Boottime
	Logger     *slog.Logger                  // nil: discard
}

// Guard is the agent's side of a guard process. It implements ha.Fence.
type Guard struct{}

var _ ha.Fence = (*Guard)(nil)

var errUnbuilt = errors.New("the guard is not built yet")

// Main must be the first line of a program's main: it runs the guard process or the start shim, if this process was started as one, and
// does not return then.
func Main() {}

// New starts an idle guard process.
func New(Config) (*Guard, error) { return nil, errUnbuilt }

// Arm implements ha.Fence.
func (g *Guard) Arm(context.Context, ha.FenceOrder) error { return errUnbuilt }

// Disarm implements ha.Fence.
func (g *Guard) Disarm(context.Context) error { return errUnbuilt }

// Lost implements ha.Fence.
func (g *Guard) Lost() <-chan ha.FenceLoss { return nil }

// Describe implements ha.Fence.
func (g *Guard) Describe() string { return "guard" }

// Command returns the program and its whole argument vector (args[0] included, as os.StartProcess takes it) that waits on file 3 for one
// byte and then executes argv under the same pid. At end of file it exits without doing so.
func (g *Guard) Command(argv []string) (path string, args []string) { return argv[0], argv }

// Attach tells the guard, armed for the server that is about to be started, that pid will become it. It returns when the guard holds it.
func (g *Guard) Attach(ctx context.Context, pid int) error { return errUnbuilt }

// Close ends an idle guard process; an armed one stays.
func (g *Guard) Close() error { return nil }
