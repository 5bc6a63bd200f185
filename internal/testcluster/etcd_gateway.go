//go:build linux

package testcluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// gateway speaks the JSON gateway of etcd members, so that the harness needs no etcd client of its own.
type gateway struct {
	scheme    string
	http      *http.Client
	addresses []string
}

// at is the gateway of one member.
func (g gateway) at(address string) gateway {
	g.addresses = []string{address}
	return g
}

func (g gateway) close() { g.http.CloseIdleConnections() }

// Get implements Store. It is linearizable.
func (g gateway) Get(ctx context.Context, key string) (*KV, error) {
	kvs, err := g.read(ctx, map[string]any{"key": b64(key)})
	if err != nil || len(kvs) == 0 {
		return nil, err
	}
	return &kvs[0], nil
}

// Put implements Store.
func (g gateway) Put(ctx context.Context, key, value string) error {
	return g.call(ctx, "/v3/kv/put", map[string]any{"key": b64(key), "value": b64(value)}, nil)
}

// Delete implements Store.
func (g gateway) Delete(ctx context.Context, key string) error {
	return g.call(ctx, "/v3/kv/deleterange", map[string]any{"key": b64(key)}, nil)
}

func (g gateway) read(ctx context.Context, query map[string]any) ([]KV, error) {
	var reply struct {
		KVs []struct {
			Key, Value []byte
			Lease      int64 `json:",string"`
		}
	}
	if err := g.call(ctx, "/v3/kv/range", query, &reply); err != nil {
		return nil, err
	}
	var kvs []KV
	for _, kv := range reply.KVs {
		one := KV{Key: string(kv.Key), Value: string(kv.Value)}
		if kv.Lease != 0 {
			one.Session = strconv.FormatInt(kv.Lease, 16)
		}
		kvs = append(kvs, one)
	}
	return kvs, nil
}

// SessionTTL implements Store.
func (g gateway) SessionTTL(ctx context.Context, session string) (time.Duration, error) {
	lease, err := strconv.ParseInt(session, 16, 64)
	if err != nil {
		return 0, err
	}
	var reply struct {
		GrantedTTL int `json:"grantedTTL,string"`
	}
	err = g.call(ctx, "/v3/lease/timetolive", map[string]any{"ID": strconv.FormatInt(lease, 10)}, &reply)
	return time.Duration(reply.GrantedTTL) * time.Second, err
}

// EndSession implements Store: etcdctl lease revoke.
func (g gateway) EndSession(ctx context.Context, session string) error {
	lease, err := strconv.ParseInt(session, 16, 64)
	if err != nil {
		return err
	}
	return g.call(ctx, "/v3/lease/revoke", map[string]any{"ID": strconv.FormatInt(lease, 10)}, nil)
}

// Leader implements Store.
func (g gateway) Leader(ctx context.Context) (int, error) {
	for i, a := range g.addresses {
		id, leader, err := g.at(a).status(ctx)
		if err == nil && id == leader {
			return i, nil
		}
	}
	return 0, errors.New("no etcd member says that it leads")
}

// status tells the identities of a member and of the leader that it knows.
func (g gateway) status(ctx context.Context) (id, leader string, err error) {
	var reply struct {
		Header struct {
			Member string `json:"member_id"`
		}
		Leader string
	}
	err = g.call(ctx, "/v3/maintenance/status", map[string]any{}, &reply)
	return reply.Header.Member, reply.Leader, err
}

// MoveLeader hands etcd's leadership to the member at an address, which need not be one of the nodes'.
func (g gateway) MoveLeader(ctx context.Context, address string) error {
	id, leader, err := g.at(address).status(ctx)
	if err != nil || id == leader {
		return err
	}
	from, err := g.Leader(ctx)
	if err != nil {
		return err
	}
	return g.at(g.addresses[from]).call(ctx, "/v3/maintenance/transfer-leadership", map[string]any{"targetID": id}, nil)
}

// EnableAuth makes etcd ask for a user and a password: root and the given one. The harness's own calls are refused from
// then on.
func (g gateway) EnableAuth(ctx context.Context, password string) error {
	for _, step := range []struct {
		path string
		body map[string]any
	}{
		{"/v3/auth/user/add", map[string]any{"name": "root", "password": password}},
		{"/v3/auth/role/add", map[string]any{"name": "root"}},
		{"/v3/auth/user/grant", map[string]any{"user": "root", "role": "root"}},
		{"/v3/auth/enable", map[string]any{}},
	} {
		if err := g.call(ctx, step.path, step.body, nil); err != nil {
			return err
		}
	}
	return nil
}

// call sends one request to the first member that answers.
func (g gateway) call(ctx context.Context, path string, body, reply any) error {
	send, err := json.Marshal(body)
	if err != nil {
		return err
	}
	raw, err := first(ctx, g.addresses, func(ctx context.Context, address string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.scheme+"://"+address+path, bytes.NewReader(send))
		if err != nil {
			return nil, err
		}
		return fetch(g.http, req)
	})
	if err != nil || reply == nil {
		return err
	}
	return json.Unmarshal(raw, reply)
}

// Traffic implements Store. Requests are the messages that the member has received from its clients: one for each plain request, one
// for each message on a stream (a keepalive, a new watch).
func (g gateway) Traffic(ctx context.Context, member int) (Traffic, error) {
	t := Traffic{ByMethod: map[string]float64{}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.scheme+"://"+g.addresses[member]+"/metrics", nil)
	if err != nil {
		return t, err
	}
	raw, err := fetch(g.http, req)
	if err != nil {
		return t, err
	}
	err = metrics(raw, func(name string, value float64) {
		switch {
		case strings.HasPrefix(name, "grpc_server_msg_received_total{"):
			t.Requests += value
			t.ByMethod[label(name, "grpc_method")] += value
		case name == "etcd_network_client_grpc_sent_bytes_total":
			t.Sent = value
		case name == "etcd_network_client_grpc_received_bytes_total":
			t.Received = value
		}
	})
	return t, err
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
