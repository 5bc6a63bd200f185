package zookeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Exhibitor asks Netflix's supervisor of ZooKeeper for the servers of an ensemble. Its Servers is a Config.Discover.
type Exhibitor struct {
	Hosts []string // names or addresses where it answers
	Port  int
}

// exhibitorBudget bounds how long one host is waited for.
const exhibitorBudget = 3 * time.Second

// Servers asks one host after the other, beginning anywhere.
func (e Exhibitor) Servers(ctx context.Context) ([]string, error) {
	errs := []error{errors.New("Exhibitor does not tell the servers of ZooKeeper")}
	for _, i := range rand.Perm(len(e.Hosts)) {
		servers, err := e.ask(ctx, net.JoinHostPort(e.Hosts[i], strconv.Itoa(e.Port)))
		if err == nil {
			return servers, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (e Exhibitor) ask(ctx context.Context, at string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, exhibitorBudget)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/exhibitor/v1/cluster/list", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", at, resp.Status)
	}
	var list struct {
		Servers []string `json:"servers"`
		Port    int      `json:"port"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", at, err)
	}
	if len(list.Servers) == 0 || list.Port == 0 {
		return nil, fmt.Errorf("%s knows no server", at)
	}
	for i, s := range list.Servers {
		list.Servers[i] = net.JoinHostPort(s, strconv.Itoa(list.Port))
	}
	return list.Servers, nil
}
