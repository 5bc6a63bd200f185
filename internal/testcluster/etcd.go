//go:build linux

package testcluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Etcd is a real etcd cluster, of one member or more.
type Etcd struct {
	members []*etcdMember
	tls     *TLSFiles
	http    *http.Client
}

type etcdMember struct {
	address string // host:port for clients
	start   order
	proc    *process
}

// newEtcd prepares n members; nothing runs yet.
func newEtcd(dir, address string, n int, files *TLSFiles, base order, dial dialer) (*Etcd, error) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return nil, &MissingError{Program: "etcd", Hint: "install etcd-server"}
	}
	ports, err := freePorts(base.ns, address, 2*n)
	if err != nil {
		return nil, err
	}
	e := &Etcd{tls: files}
	transport := &http.Transport{DialContext: dial, DisableCompression: true}
	scheme := "http"
	if files != nil {
		scheme = "https"
		transport.TLSClientConfig, err = files.Client()
		if err != nil {
			return nil, err
		}
	}
	e.http = &http.Client{Transport: transport}
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, net.JoinHostPort(address, strconv.Itoa(ports[2*i+1]))))
	}
	for i := range n {
		name := "m" + strconv.Itoa(i)
		m := &etcdMember{address: net.JoinHostPort(address, strconv.Itoa(ports[2*i])), start: base}
		client, peer := scheme+"://"+m.address, strings.TrimPrefix(cluster[i], name+"=")
		m.start.logFile = filepath.Join(dir, "etcd-"+name+".log")
		m.start.args = []string{program, "--name", name, "--data-dir", filepath.Join(dir, "etcd-"+name),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "warn"}
		if files != nil {
			m.start.args = append(m.start.args, "--cert-file", files.Cert, "--key-file", files.Key,
				"--trusted-ca-file", files.CA, "--client-cert-auth")
		}
		e.members = append(e.members, m)
	}
	return e, nil
}

// Endpoints are the members' addresses, host:port.
func (e *Etcd) Endpoints() []string {
	var all []string
	for _, m := range e.members {
		all = append(all, m.address)
	}
	return all
}

// Start starts all members that do not run, and returns when they answer.
func (e *Etcd) Start(ctx context.Context) error {
	for _, m := range e.members {
		if m.proc.running() {
			continue
		}
		var err error
		if m.proc, err = start(m.start); err != nil {
			return err
		}
	}
	return poll(ctx, 20*time.Millisecond, "etcd", func() (bool, string) {
		for _, m := range e.members {
			if !m.proc.running() {
				return false, "a member has ended: " + readTail(m.start.logFile)
			}
		}
		ask, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := e.Get(ask, "health"); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// Kill ends all members with SIGKILL. Their data stays.
func (e *Etcd) Kill(ctx context.Context) error {
	for _, m := range e.members {
		if err := m.proc.end(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// Freeze stops all members as they are: connections stay, nobody answers. Leases run on, and have expired at the Thaw that
// comes after their end.
func (e *Etcd) Freeze() error { return e.signal(syscall.SIGSTOP) }

// Thaw lets frozen members go on.
func (e *Etcd) Thaw() error { return e.signal(syscall.SIGCONT) }

func (e *Etcd) signal(sig os.Signal) error {
	for _, m := range e.members {
		if err := m.proc.signal(sig); err != nil {
			return fmt.Errorf("signal etcd: %w", err)
		}
	}
	return nil
}

// KV is one key as etcd tells it.
type KV struct {
	Key, Value string
	Lease      int64
	ModRev     int64
}

// Get reads one key; nil: there is none. It is linearizable.
func (e *Etcd) Get(ctx context.Context, key string) (*KV, error) {
	kvs, err := e.read(ctx, map[string]any{"key": b64(key)})
	if err != nil || len(kvs) == 0 {
		return nil, err
	}
	return &kvs[0], nil
}

// List reads all keys below prefix.
func (e *Etcd) List(ctx context.Context, prefix string) ([]KV, error) {
	end := []byte(prefix)
	end[len(end)-1]++
	return e.read(ctx, map[string]any{"key": b64(prefix), "range_end": b64(string(end))})
}

// Put writes a key without a lease.
func (e *Etcd) Put(ctx context.Context, key, value string) error {
	return e.call(ctx, "/v3/kv/put", map[string]any{"key": b64(key), "value": b64(value)}, nil)
}

// Delete removes one key.
func (e *Etcd) Delete(ctx context.Context, key string) error {
	return e.call(ctx, "/v3/kv/deleterange", map[string]any{"key": b64(key)}, nil)
}

func (e *Etcd) read(ctx context.Context, query map[string]any) ([]KV, error) {
	var reply struct {
		KVs []struct {
			Key, Value []byte
			Lease      int64 `json:",string"`
			ModRev     int64 `json:"mod_revision,string"`
		}
	}
	if err := e.call(ctx, "/v3/kv/range", query, &reply); err != nil {
		return nil, err
	}
	var kvs []KV
	for _, kv := range reply.KVs {
		kvs = append(kvs, KV{string(kv.Key), string(kv.Value), kv.Lease, kv.ModRev})
	}
	return kvs, nil
}

// call speaks etcd's JSON gateway, so that the harness needs no etcd client of its own.
func (e *Etcd) call(ctx context.Context, path string, body, reply any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url(0)+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("etcd %s: %s: %s", path, res.Status, text)
	}
	if reply == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(reply)
}

// Requests counts the messages that member i has received from its clients since it started, as its own metrics tell:
// one for each plain request, one for each message on a stream (a keepalive, a new watch).
func (e *Etcd) Requests(ctx context.Context, i int) (total float64, byMethod map[string]float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url(i)+"/metrics", nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	byMethod = map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		labels, ok := strings.CutPrefix(lines.Text(), "grpc_server_msg_received_total{")
		if !ok {
			continue
		}
		_, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, nil, fmt.Errorf("read etcd metrics: %w", err)
		}
		_, method, _ := strings.Cut(labels, `grpc_method="`)
		method, _, _ = strings.Cut(method, `"`)
		total += n
		byMethod[method] += n
	}
	return total, byMethod, lines.Err()
}

func (e *Etcd) url(i int) string {
	if e.tls != nil {
		return "https://" + e.members[i].address
	}
	return "http://" + e.members[i].address
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func readTail(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return tail(string(raw), 2000)
}

// TLSFiles are the files of one party: its certificate and key, and the authority it believes.
type TLSFiles struct{ CA, Cert, Key string }

// Client is what a client needs that shows this certificate.
func (f *TLSFiles) Client() (*tls.Config, error) {
	pool, err := readPool(f.CA)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// LeaseTTL is the TTL that the store granted to a lease, in seconds; 0: there is no such lease.
func (e *Etcd) LeaseTTL(ctx context.Context, lease int64) (int, error) {
	var reply struct {
		GrantedTTL int `json:"grantedTTL,string"`
	}
	err := e.call(ctx, "/v3/lease/timetolive", map[string]any{"ID": strconv.FormatInt(lease, 10)}, &reply)
	return reply.GrantedTTL, err
}

// EnableAuth makes etcd ask for a user and a password: root and the given one. The harness's own calls are refused from
// then on.
func (e *Etcd) EnableAuth(ctx context.Context, password string) error {
	for _, step := range []struct {
		path string
		body map[string]any
	}{
		{"/v3/auth/user/add", map[string]any{"name": "root", "password": password}},
		{"/v3/auth/role/add", map[string]any{"name": "root"}},
		{"/v3/auth/user/grant", map[string]any{"user": "root", "role": "root"}},
		{"/v3/auth/enable", map[string]any{}},
	} {
		if err := e.call(ctx, step.path, step.body, nil); err != nil {
			return err
		}
	}
	return nil
}
