//go:build linux

package testcluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Etcd is a real etcd cluster, of one member or more.
type Etcd struct {
	ensemble
	gateway
}

// newEtcd prepares the members; nothing runs yet.
func (c *Cluster) newEtcd() (*Etcd, error) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return nil, &MissingError{Program: "etcd", Hint: "install etcd-server"}
	}
	var files *TLSFiles
	if c.EtcdTLS != nil {
		if files, err = c.EtcdTLS(c.Authority, c.Address); err != nil {
			return nil, err
		}
	}
	n := c.Servers
	ports, err := freePorts(c.base.ns, c.Address, 2*n)
	if err != nil {
		return nil, err
	}
	e := &Etcd{}
	if e.gateway, err = newGateway(files, c.Dial); err != nil {
		return nil, err
	}
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, net.JoinHostPort(c.Address, strconv.Itoa(ports[2*i+1]))))
	}
	for i := range n {
		name := "m" + strconv.Itoa(i)
		s := &server{address: net.JoinHostPort(c.Address, strconv.Itoa(ports[2*i])), start: c.base, dataDir: filepath.Join(c.Dir, "etcd-"+name)}
		client, peer := e.scheme+"://"+s.address, strings.TrimPrefix(cluster[i], name+"=")
		s.start.logFile = filepath.Join(c.Dir, "etcd-"+name+".log")
		s.start.args = []string{program, "--name", name, "--data-dir", s.dataDir,
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "warn"}
		if files != nil {
			s.start.args = append(s.start.args, "--cert-file", files.Cert, "--key-file", files.Key,
				"--trusted-ca-file", files.CA, "--client-cert-auth")
		}
		e.servers = append(e.servers, s)
		e.addresses = append(e.addresses, s.address)
	}
	return e, nil
}

// Section implements Store. Unless all members are named, none but these are to be asked.
func (e *Etcd) Section(_ *Node, addresses []string) (string, map[string]any) {
	section := map[string]any{"hosts": strings.Join(addresses, ",")}
	if !slices.Equal(addresses, e.addresses) {
		section["use_proxies"] = true
	}
	return "etcd3", section
}

// Start implements Store.
func (e *Etcd) Start(ctx context.Context) error {
	if err := e.launch(); err != nil {
		return err
	}
	return poll(ctx, 20*time.Millisecond, "etcd", func() (bool, string) {
		if why := e.ended(); why != "" {
			return false, why
		}
		for _, s := range e.servers { // each of them, not any
			ask, cancel := context.WithTimeout(ctx, time.Second)
			_, err := e.at(s.address).Get(ask, "health")
			cancel()
			if err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

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

// newGateway makes a client of etcd members that are added later.
func newGateway(files *TLSFiles, dial dialer) (gateway, error) {
	transport := &http.Transport{DialContext: dial, DisableCompression: true}
	g := gateway{scheme: "http", http: &http.Client{Transport: transport}}
	if files == nil {
		return g, nil
	}
	var err error
	g.scheme = "https"
	transport.TLSClientConfig, err = files.Client()
	return g, err
}
