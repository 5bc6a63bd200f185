package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// start carries out TaskStart.
func (i *Instance) start(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) error {
	kills := i.kills.Load()
	if r := i.postmaster(); r != nil {
		return fmt.Errorf("a server runs already, as process %d", r.id.PID)
	}
	if c, problem := i.condition(); c != postgres.DataDirReady {
		return fmt.Errorf("the data directory is %s: %s", c, problem)
	}
	if m := i.readMarker(); m != nil && t.AsPrimary {
		return fmt.Errorf("the data directory comes from a %s and has never run: it can only be started as a standby", m.Work)
	}
	if err := i.sweep(ctx, nil); err != nil {
		return err
	}
	if err := i.dropSkipped(); err != nil {
		return err
	}
	control, err := i.readControl(ctx)
	if err != nil {
		return err
	}
	if err := i.prepareStart(t); err != nil {
		return err
	}
	if !t.AsPrimary {
		if err := i.checkWay(ctx, control); err != nil {
			return err
		}
		if err := i.dropUnreached(control); err != nil {
			return err
		}
	}
	s, _ := i.currentSettings()
	i.closed.Store(i.accessIsClosed())
	l := launch{args: i.serverArguments(s, control, !t.AsPrimary), kills: kills}
	if t.AsPrimary {
		l.launcher = i.cfg.Launcher
	}
	r, err := i.launch(ctx, l, phase)
	if err != nil {
		return err
	}
	phase(postgres.Phase{Name: postgres.PhaseReady})
	i.startedWell()
	if len(t.Slots) > 0 {
		if err := i.createSlots(ctx, t.Slots); err != nil {
			i.log.Warn("create slots after the start", "pid", r.id.PID, "error", err)
		}
	}
	return nil
}

// prepareStart writes what tells the server its role. The signal file comes first: killed after the next line, the server
// must not come up writable by itself.
func (i *Instance) prepareStart(t postgres.Task) error {
	if t.AsPrimary {
		if err := i.writeRole(nil); err != nil {
			return err
		}
		return i.remove("standby.signal", "recovery.signal")
	}
	if err := i.touch("standby.signal"); err != nil {
		return err
	}
	if err := i.remove("recovery.signal"); err != nil {
		return err
	}
	if t.Upstream != nil {
		if err := i.writePassFile(t.Upstream.Host, t.Upstream.Port); err != nil {
			return err
		}
	}
	st := i.streamOf(t.Upstream)
	i.setFollows(st)
	return i.writeRole(&st)
}

func (i *Instance) streamOf(u *postgres.Upstream) stream {
	st := stream{conninfo: i.primaryConninfo(u)}
	if u != nil {
		st.slot = u.Slot
	}
	return st
}

// writeRole writes all configuration files, for a standby of st or for a primary (nil).
func (i *Instance) writeRole(st *stream) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, err := i.writeConf(i.settings, st); err != nil {
		return err
	}
	_, err := i.writeAccess(i.settings)
	return err
}

// startedWell is done after each start that let clients in.
func (i *Instance) startedWell() {
	i.eye.setPending(nil)
	if err := i.removeMarker(); err != nil {
		i.log.Warn("tidy up after the start", "error", err)
	}
	i.backUpConf()
}

// backUpConf copies the configuration into the data directory, from where a clone without configuration is helped.
func (i *Instance) backUpConf() {
	paths := []string{i.confPath(".conf"), i.hbaPath(), i.identPath()}
	if i.cfg.CustomConf == "" {
		paths = append(paths, i.confPath(".base.conf"))
	}
	for _, p := range paths {
		to := filepath.Join(i.cfg.DataDir, filepath.Base(p)+".backup")
		if err := copyFile(p, to, i.fileMode()); err != nil {
			i.log.Warn("back up configuration", "file", p, "error", err)
		}
	}
}

// serverArguments is the command line of the server: what must be the same on all members cannot be changed by a file.
func (i *Instance) serverArguments(s postgres.Settings, control *postgres.Control, standby bool) []string {
	args := []string{"-D", i.cfg.DataDir, "--config_file=" + i.confPath(".conf")}
	if i.cfg.ConfigDir != i.cfg.DataDir {
		args = append(args, "--data_directory="+i.cfg.DataDir)
	}
	settings := i.controlled(s, control, standby)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "--"+name+"="+settings[name])
	}
	return args
}

// controlled are the settings of the command line. A standby must not have less room in shared memory than the primary
// whose log it replays had (PostgreSQL documentation, "Administrator's Overview" of hot standby), so values of pg_control
// win there. Nor may it reach a recovery target, which would promote it.
func (i *Instance) controlled(s postgres.Settings, control *postgres.Control, standby bool) map[string]string {
	all := maps.Clone(s.Controlled)
	if all == nil {
		all = map[string]string{}
	}
	for _, n := range fileOnly {
		delete(all, n)
	}
	all["listen_addresses"], all["port"], all["cluster_name"] = i.cfg.ListenAddresses, itoa(i.cfg.Port), i.cfg.Scope
	if _, chosen := s.Parameters[initSync]; !chosen && syncfsTellsErrors() {
		all[initSync] = "syncfs"
	}
	if !standby {
		return all
	}
	for name, least := range sharedMemory(control) {
		if n, err := strconv.Atoi(all[name]); err != nil || n < least {
			all[name] = itoa(least)
		}
	}
	all["hot_standby"] = "on"
	for _, n := range targetNames {
		all[n] = ""
	}
	if i.major < 16 {
		all["promote_trigger_file"] = ""
	}
	return all
}

func sharedMemory(c *postgres.Control) map[string]int {
	if c == nil {
		return nil
	}
	return map[string]int{
		"max_connections":           c.MaxConnections,
		"max_worker_processes":      c.MaxWorkerProcesses,
		"max_wal_senders":           c.MaxWALSenders,
		"max_prepared_transactions": c.MaxPreparedXacts,
		"max_locks_per_transaction": c.MaxLocksPerXact,
	}
}

// launch describes one start of the postmaster.
type launch struct {
	args     []string
	kills    uint64   // how often Kill had been called when the start began
	launcher Launcher // nil: the server is started without a guard
}

// launch starts the postmaster and returns when it lets clients in. If ctx ends before, or Kill was called since the start
// began, the server is ended.
func (i *Instance) launch(ctx context.Context, l launch, phase func(postgres.Phase)) (*run, error) {
	if err := os.Remove(i.pidFilePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // the sweep has proved that nobody is behind it
	}
	log, err := i.openServerLog()
	if err != nil {
		return nil, err
	}
	defer log.close()
	r, err := i.spawn(ctx, l, log.file)
	if err != nil {
		return nil, err
	}
	if i.kills.Load() != l.kills {
		return nil, errors.Join(errors.New("the server was killed while it was being started"), i.abandon(r))
	}
	phase(postgres.Phase{Name: postgres.PhaseStarting})
	look := pace{next: 2 * time.Millisecond, limit: 20 * time.Millisecond}
	for {
		f, err := i.readPidFile()
		if err == nil && f != nil && f.pid == r.id.PID {
			r.remember(f)
			if f.status == statusReady || f.status == statusStandby {
				return r, nil
			}
		}
		if look.wait(ctx, r.ended) {
			continue
		}
		if !r.alive() {
			return nil, fmt.Errorf("the server ended (%s) before it let clients in: %s", r.exitStatus(), i.explainLog(log))
		}
		return nil, errors.Join(context.Cause(ctx), i.abandon(r))
	}
}

// spawn starts the postmaster in its own session, so that it outlives the agent. With a launcher, the process becomes
// PostgreSQL only when the guard holds it.
func (i *Instance) spawn(ctx context.Context, l launch, log *os.File) (*run, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	g, err := newGate(l.launcher)
	if err != nil {
		return nil, err
	}
	defer g.close()
	r, err := i.fork(l, g, null, log)
	if err != nil {
		return nil, err
	}
	if err := g.open(ctx, i, l.kills, r); err != nil {
		return nil, err
	}
	i.log.Info("started postmaster", "pid", r.id.PID)
	return r, nil
}

// fork makes the process and watches it.
func (i *Instance) fork(l launch, g *gate, null, log *os.File) (*run, error) {
	program := i.program(progPostgres)
	path, args := g.command(append([]string{program}, l.args...))
	i.adoptMu.Lock() // nobody adopts it before we watch it as its parent
	defer i.adoptMu.Unlock()
	child, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir:   i.cfg.DataDir,
		Env:   environment("PG_GRANDPARENT_PID=" + itoa(os.Getpid())),
		Files: g.files(null, log, log),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w (hint: set postgresql.bin_dir to the folder of the PostgreSQL programs)", path, err)
	}
	h, err := openChild(child.Pid)
	if err != nil { // somebody else reaped it, or there is no /proc
		_ = child.Kill()
		state, _ := child.Wait()
		return nil, fmt.Errorf("the server ended at once (%v)", state)
	}
	return i.watch(h, child), nil
}

// abandon ends a server that was started and is not wanted any more.
func (i *Instance) abandon(r *run) error {
	_ = signalPostmaster(r, unix.SIGQUIT)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if awaitEnd(ctx, r) != nil {
		return i.Kill("a start was given up")
	}
	return i.sweep(ctx, r.remembered())
}

// explainLog adds a hint to the server's last words where an operator may need one.
func (i *Instance) explainLog(log *serverLog) string {
	words := i.lastWords(log)
	hints := []struct{ symptom, hint string }{
		{"Address already in use", "port " + itoa(i.cfg.Port) + " is in use by another program"},
		{"could not create any TCP/IP sockets", "is postgresql.listen an address of this machine, and port " + itoa(i.cfg.Port) + " free?"},
		{"could not create any Unix-domain sockets", "unix_socket_directories must name a folder that the server may write to"},
		{"has group or world access", "the data directory must have mode 0700 or 0750"},
		{"could not access the server configuration file", "postgresql.conf is missing from " + i.cfg.ConfigDir},
		{"could not load pg_hba.conf", "pg_hba.conf has errors; see the server's log"},
		{"could not map anonymous shared memory", "shared_buffers needs more memory than this machine has"},
		{"No space left on device", "the disk is full"},
		{"is already in use", "another server uses this data directory"},
		{"is not a child of this server's history", "pg_wal or the archive holds the history file of a timeline that was left; this member has to be cloned anew"},
		{"incorrect data in configuration", "a setting is wrong; see the server's log"},
		{"unrecognized configuration parameter", "a setting is unknown to this version of PostgreSQL"},
	}
	for _, h := range hints {
		if strings.Contains(words, h.symptom) {
			return words + " (hint: " + h.hint + ")"
		}
	}
	return words + " (hint: the server's log is " + i.cfg.LogFile + ")"
}

// initSync decides how a server that crashed brings its files to disk before it recovers: by an fsync of every file, which takes a second
// for an empty cluster and minutes for a large one, or by one syncfs of each file system (PostgreSQL documentation, "Error Handling").
const initSync = "recovery_init_sync_method"

// syncfsTellsErrors says whether the kernel reports write errors from syncfs, as Linux does since 5.8.
func syncfsTellsErrors() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || (major == 5 && minor >= 8)
}
