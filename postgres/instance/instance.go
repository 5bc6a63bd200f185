package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tanist-ha/tanist/postgres"
)

// Instance is one local PostgreSQL server. Its methods may be called from several goroutines; at most one task runs at a
// time.
type Instance struct {
	cfg   Config
	log   *slog.Logger
	major int // of the installed programs
	lock  *os.File

	life       context.Context // ends with Close
	end        context.CancelFunc
	goroutines sync.WaitGroup
	exits      chan postgres.Exit
	disturbed  chan postgres.Postmaster

	adoptMu  sync.Mutex
	current  atomic.Pointer[run] // the postmaster that was last seen; Kill reads it without a lock
	realDir  atomic.Pointer[string]
	closed   atomic.Bool   // the server that runs keeps ordinary clients out
	stopping atomic.Int64  // pid of the postmaster that was told to stop last
	kills    atomic.Uint64 // how often Kill was called: a start that was under way must not succeed after one

	task sync.Mutex // held while a task runs

	mu       sync.Mutex // guards what follows, and the configuration files
	settings postgres.Settings
	follows  stream // what a standby is told to follow

	eye eye // what Observe keeps between two looks
}

// ErrBusy says that a task runs already.
var ErrBusy = errors.New("another task runs on the server")

// New makes an Instance and adopts the server if it runs. It fails as root, without the PostgreSQL programs, and if
// another agent manages the data directory. Close it.
func New(cfg Config) (*Instance, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure the PostgreSQL instance: %w", err)
	}
	i := &Instance{cfg: cfg, log: cfg.Logger, settings: cfg.Settings,
		exits: make(chan postgres.Exit, 16), disturbed: make(chan postgres.Postmaster, 1)}
	major, err := i.installedMajor()
	if err != nil {
		return nil, err
	}
	i.major = major
	if err := i.Lock(); err != nil {
		return nil, err
	}
	i.life, i.end = context.WithCancel(context.Background())
	i.sweepTools()
	i.recoverState()
	i.postmaster()
	return i, nil
}

// recoverState learns from the files what an earlier agent had done.
func (i *Instance) recoverState() {
	i.mu.Lock()
	i.follows = i.readStream()
	i.mu.Unlock()
	i.closed.Store(i.accessIsClosed())
}

// Close ends what belongs to the agent: watchers, connections, the lock. The server goes on.
func (i *Instance) Close() error {
	i.end()
	i.eye.close()
	i.goroutines.Wait()
	if i.lock == nil {
		return nil
	}
	return i.lock.Close()
}

// Major is the major version of the installed programs.
func (i *Instance) Major() int { return i.major }

// installedMajor asks the server program for its version: "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
func (i *Instance) installedMajor() (int, error) {
	path := i.program(progPostgres)
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("run %s: %w (hint: set postgresql.bin_dir to the folder of the PostgreSQL programs)", path, err)
	}
	_, rest, _ := strings.Cut(string(out), ") ")
	digits := strings.TrimLeft(rest, " ")
	if n := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); n >= 0 {
		digits = digits[:n]
	}
	major, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("%s --version said %q, which is no version", path, strings.TrimSpace(string(out)))
	}
	if major < 14 {
		return 0, fmt.Errorf("%s is PostgreSQL %d: 14 is the oldest that is supported", path, major)
	}
	return major, nil
}

// Run carries out one task; phase is called as it goes, from the calling goroutine. A task that ends by its context says
// why in its error. ErrBusy: another one runs.
func (i *Instance) Run(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) (postgres.Outcome, error) {
	if !i.task.TryLock() {
		return postgres.Outcome{}, ErrBusy
	}
	defer i.task.Unlock()
	if phase == nil {
		phase = func(postgres.Phase) {}
	}
	var out postgres.Outcome
	var err error
	switch t.Kind {
	case postgres.TaskBootstrap:
		out, err = i.bootstrap(ctx, phase)
	case postgres.TaskOpen:
		err = i.open(ctx)
	case postgres.TaskClone:
		err = i.clone(ctx, t, phase)
	case postgres.TaskStart:
		err = i.start(ctx, t, phase)
	case postgres.TaskStop:
		out, err = i.stop(ctx, t, phase)
	case postgres.TaskPromote:
		err = i.promote(ctx, t, phase)
	case postgres.TaskFollow:
		err = i.follow(ctx, t)
	case postgres.TaskLineage:
		out, err = i.lineage(ctx, t)
	case postgres.TaskRecover:
		err = i.recover(ctx)
	case postgres.TaskRewind:
		err = i.rewind(ctx, t, phase)
	case postgres.TaskWipe:
		err = i.wipe(ctx, t)
	case postgres.TaskCheckpoint:
		err = i.checkpoint(ctx)
	default:
		err = errors.New("unknown task")
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", t.Kind, err)
	}
	return out, nil
}

// currentSettings returns the settings in force and whom a standby follows.
func (i *Instance) currentSettings() (postgres.Settings, stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.settings, i.follows
}

func (i *Instance) setFollows(st stream) {
	i.mu.Lock()
	i.follows = st
	i.mu.Unlock()
}

// checkpoint runs CHECKPOINT.
func (i *Instance) checkpoint(ctx context.Context) error {
	conn, err := i.connect(ctx, longSession)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return conn.Exec(ctx, "CHECKPOINT")
}
