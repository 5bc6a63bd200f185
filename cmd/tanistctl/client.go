package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/wire"
	"github.com/tanist-ha/tanist/rest/restclient"
)

// members reaches the REST APIs of members.
type members struct{ *restclient.Client }

// client opens the way to the members, with the certificates and the password of the section ctl.
func client(cfg *config.Config) (requester, error) {
	c, err := restclient.New(wire.RESTClient(cfg, cfg.Ctl.Insecure))
	return members{c}, err
}

// Request implements requester.
func (m members) Request(ctx context.Context, member dcs.Member, method, path string, body any) (int, []byte, error) {
	if member.Data.APIURL == "" {
		return 0, nil, fmt.Errorf("member %s publishes no api_url", member.Name)
	}
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return 0, nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	a, err := m.Do(ctx, method, member.Data.APIURL, "/"+path, raw)
	return a.Code, a.Body, err
}
