package rest

import (
	"net/http"
	"testing"

	"github.com/tanist-ha/tanist/rest/resttest"
)

func TestStart(t *testing.T) {
	cluster := resttest.Cluster("n1", "n2")
	cfg := testConfig(resttest.NewNode(now, resttest.Primary("n1", now, cluster)), resttest.NewStore(cluster))
	cfg.Version = ""
	s, err := Start(t.Context(), cfg, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := s.Addrs()[0].String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/primary")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got, want := resp.Header.Get("Server"), "tanist/0.1.0 Patroni/4.1.4"; resp.StatusCode != http.StatusOK || got != want {
		t.Errorf("%s, server %q, want %q", resp.Status, got, want)
	}
	if _, err := Start(t.Context(), cfg, address); err == nil {
		t.Error("a port in use was not noticed")
	}
	if _, err := Start(t.Context(), Config{}, address); err == nil {
		t.Error("an empty configuration was taken")
	}
	for range 2 {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
