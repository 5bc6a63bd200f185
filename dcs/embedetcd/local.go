package embedetcd

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/tanist-ha/tanist/internal/freeport"
)

// Local describes a cluster of n members in this process, on free ports of 127.0.0.1, with their data below dir. It is for tests and for
// trying things out: all of them die together.
func Local(n int, dir string, logger *slog.Logger) ([]Config, error) {
	addrs, err := freeAddresses(2 * n)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	var peers []Peer
	for i := range n {
		peers = append(peers, Peer{fmt.Sprintf("m%d", i), "http://" + addrs[2*i+1]})
	}
	var all []Config
	for i, p := range peers {
		all = append(all, Config{
			Name: p.Name, DataDir: filepath.Join(dir, p.Name),
			ClientURLs: []string{"http://" + addrs[2*i]}, PeerURLs: []string{p.URL},
			InitialCluster: peers, Token: filepath.Base(dir), Logger: logger,
		})
	}
	return all, nil
}

// StartAll starts members at the same time and returns when all serve requests. On an error none is left running.
func StartAll(ctx context.Context, configs []Config) ([]*Server, error) {
	servers, errs := make([]*Server, len(configs)), make(chan error, len(configs))
	for i, cfg := range configs {
		go func() {
			s, err := Start(ctx, cfg)
			servers[i] = s
			errs <- err
		}()
	}
	var failed error
	for range configs {
		if err := <-errs; failed == nil {
			failed = err
		}
	}
	for _, s := range servers {
		if failed == nil {
			failed = s.WaitReady(ctx)
		}
	}
	if failed == nil {
		return servers, nil
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, s := range servers {
		if s != nil {
			_ = s.Stop(stop)
		}
	}
	return nil, failed
}

func freeAddresses(n int) ([]string, error) {
	ports, err := freeport.Get(n)
	var out []string
	for _, p := range ports {
		out = append(out, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return out, err
}
