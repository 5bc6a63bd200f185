package rest_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"time"

	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// The API of a node, here a scripted one. An *ha.Node is one too, and so is a dcs.Client a Store.
func Example() {
	now := resttest.Started()
	cluster := resttest.Cluster("n1", "n2")
	node := resttest.NewNode(now, resttest.Primary("n1", now, cluster))
	handler, err := rest.NewHandler(rest.Config{
		Node: node, Store: resttest.NewStore(cluster), Peers: resttest.Peers{}, Version: "4.1.4", Logger: slog.Default(),
		Patch: func(_, patch []byte) ([]byte, bool, error) { return patch, true, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	check := func(path string) int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", path, nil))
		return w.Code
	}
	fmt.Println("leader:", check("/primary"), check("/replica"))

	node.Advance(30 * time.Second) // nothing renewed the authority: the answer needs no new status
	fmt.Println("a ttl later:", check("/primary"), check("/replica"))
	// Output:
	// leader: 200 503
	// a ttl later: 503 503
}
