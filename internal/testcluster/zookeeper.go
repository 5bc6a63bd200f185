//go:build linux

package testcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ZooKeeper is a real ZooKeeper ensemble, of Debian's packages.
type ZooKeeper struct {
	ensemble
	dial dialer
	own  func(path string) error
}

// zooKeeperTick is the servers' tickTime, unless Options has another: sessions live 2 to 20 ticks.
const zooKeeperTick = 500 * time.Millisecond

// zooKeeperJars are Debian's: ZooKeeper's own names all that it needs but a logger.
const zooKeeperJars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"

// newZooKeeper prepares the servers; nothing runs yet.
func (c *Cluster) newZooKeeper() (*ZooKeeper, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, &MissingError{"java", "run scripts/install-packages test"}
	}
	for jar := range strings.SplitSeq(zooKeeperJars, ":") {
		if _, err := os.Stat(jar); err != nil {
			return nil, &MissingError{"ZooKeeper (" + jar + ")", "run scripts/install-packages test"}
		}
	}
	n := c.Servers
	ports, err := freePorts(c.base.ns, c.Address, 3*n)
	if err != nil {
		return nil, err
	}
	z := &ZooKeeper{dial: c.Dial, own: c.own}
	// A member that was away has initLimit ticks to catch up, and may be syncLimit ticks behind.
	common := []string{fmt.Sprintf("tickTime=%d", cmp.Or(c.Tick, zooKeeperTick).Milliseconds()), "initLimit=20", "syncLimit=10",
		"maxSessionTimeout=60000", "clientPortAddress=" + c.Address, "admin.enableServer=false", "4lw.commands.whitelist=*"}
	if n > 1 {
		for i := range n {
			common = append(common, fmt.Sprintf("server.%d=%s:%d:%d", i+1, c.Address, ports[3*i+1], ports[3*i+2]))
		}
	}
	for i := range n {
		name := "zookeeper-" + strconv.Itoa(i)
		s := &server{address: address(c.Address, ports[3*i]), start: c.base, dataDir: filepath.Join(c.Dir, name)}
		lines := append([]string{"dataDir=" + s.dataDir, fmt.Sprintf("clientPort=%d", ports[3*i])}, common...)
		config, err := c.WriteFile(name+".cfg", strings.Join(lines, "\n")+"\n")
		if err != nil {
			return nil, err
		}
		s.start.logFile = filepath.Join(c.Dir, name+".log")
		s.start.args = []string{java, "-Xmx128m", "-Xms32m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", zooKeeperJars,
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config}
		z.servers = append(z.servers, s)
	}
	return z, nil
}

// Section implements Store.
func (z *ZooKeeper) Section(_ *Node, addresses []string) (string, map[string]any) {
	return "zookeeper", map[string]any{"hosts": addresses}
}

// Start implements Store.
func (z *ZooKeeper) Start(ctx context.Context) error {
	for i, s := range z.servers {
		if err := z.number(s, i+1); err != nil {
			return err
		}
	}
	if err := z.launch(); err != nil {
		return err
	}
	return poll(ctx, 50*time.Millisecond, "ZooKeeper", func() (bool, string) {
		if why := z.ended(); why != "" {
			return false, why
		}
		for _, s := range z.servers { // each of them, not any
			if state, err := z.monitor(ctx, s.address); err != nil || state["zk_server_state"] == "" {
				return false, fmt.Sprint(s.address, " does not serve: ", err)
			}
		}
		return true, ""
	})
}

// number makes the folder that says which member of the ensemble a server is, unless it is there.
func (z *ZooKeeper) number(s *server, id int) error {
	if err := os.Mkdir(s.dataDir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	file := filepath.Join(s.dataDir, "myid")
	return errors.Join(os.WriteFile(file, []byte(strconv.Itoa(id)+"\n"), 0o600), z.own(file), z.own(s.dataDir))
}

// Leader implements Store.
func (z *ZooKeeper) Leader(ctx context.Context) (int, error) {
	for i, s := range z.servers {
		state, err := z.monitor(ctx, s.address)
		if err == nil && (state["zk_server_state"] == "leader" || state["zk_server_state"] == "standalone") {
			return i, nil
		}
	}
	return 0, errors.New("no ZooKeeper server says that it leads")
}

// Get implements Store.
func (z *ZooKeeper) Get(ctx context.Context, key string) (*KV, error) {
	var kv *KV
	err := z.use(ctx, func(client *zk.Conn) error {
		if _, err := client.Sync(key); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		value, stat, err := client.Get(key)
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		kv = &KV{Key: key, Value: string(value)}
		if stat.EphemeralOwner != 0 {
			kv.Session = fmt.Sprintf("0x%x", stat.EphemeralOwner)
		}
		return nil
	})
	return kv, err
}

// Put implements Store.
func (z *ZooKeeper) Put(ctx context.Context, key, value string) error {
	return z.use(ctx, func(client *zk.Conn) error {
		_, err := client.Set(key, []byte(value), -1)
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		for i := 1; i < len(key); i++ { // the folders above, from the top
			if key[i] != '/' {
				continue
			}
			if _, err := client.Create(key[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
		_, err = client.Create(key, []byte(value), 0, zk.WorldACL(zk.PermAll))
		return err
	})
}

// Delete implements Store.
func (z *ZooKeeper) Delete(ctx context.Context, key string) error {
	return z.use(ctx, func(client *zk.Conn) error {
		err := client.Delete(key, -1)
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		return err
	})
}

// SessionTTL implements Store. The server that a session's connection leads to knows it.
func (z *ZooKeeper) SessionTTL(ctx context.Context, session string) (time.Duration, error) {
	for _, s := range z.servers {
		text, err := z.command(ctx, s.address, "cons")
		if err != nil {
			continue // it may be on another
		}
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "sid="+session+",") {
				continue
			}
			_, rest, _ := strings.Cut(line, ",to=")
			to, _, _ := strings.Cut(rest, ",")
			ms, err := strconv.Atoi(to)
			return time.Duration(ms) * time.Millisecond, err
		}
	}
	return 0, nil
}

// Traffic implements Store. ZooKeeper counts packets, the clients' pings among them, and no bytes. Asking takes a packet, which is taken off.
func (z *ZooKeeper) Traffic(ctx context.Context, i int) (Traffic, error) {
	state, err := z.monitor(ctx, z.servers[i].address)
	if err != nil {
		return Traffic{}, err
	}
	n, err := strconv.ParseFloat(state["zk_packets_received"], 64)
	return Traffic{Requests: n, NoBytes: true}, err
}

// monitor returns the counters of mntr.
func (z *ZooKeeper) monitor(ctx context.Context, address string) (map[string]string, error) {
	text, err := z.command(ctx, address, "mntr")
	counters := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			counters[name] = value
		}
	}
	return counters, err
}

// command sends a four-letter command.
func (z *ZooKeeper) command(ctx context.Context, address, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := z.dial(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// use runs one operation over a connection of its own to the first server that answers. The client library takes no context: its waits
// end when the connection is closed.
func (z *ZooKeeper) use(ctx context.Context, operation func(*zk.Conn) error) error {
	_, err := first(ctx, z.Addresses(), func(ctx context.Context, address string) (struct{}, error) {
		dial := func(network, address string, _ time.Duration) (net.Conn, error) { return z.dial(ctx, network, address) }
		client, _, err := zk.Connect([]string{address}, 5*time.Second, zk.WithDialer(dial), zk.WithLogger(silent{}))
		if err != nil {
			return struct{}{}, err
		}
		hangUp := sync.OnceFunc(client.Close)
		defer hangUp()
		defer context.AfterFunc(ctx, hangUp)()
		err = operation(client)
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return struct{}{}, err
	})
	return err
}

// silent is the client library's logger.
type silent struct{}

func (silent) Printf(string, ...any) {}

func (z *ZooKeeper) close() {}
