package instance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

// TestPromotionIsNotedFirst ends a promotion between its two files (safety 5.5): the server may be promoted from the second one on, so the
// first one, which tells other agents of it, has to be there by then.
func TestPromotionIsNotedFirst(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.must(postgres.Task{Kind: postgres.TaskStart}) // as a standby of nobody
	if o := n.look(); o.PromotionAsked || o.SQL == nil || !o.SQL.InRecovery {
		t.Fatalf("the standby: %+v", o)
	}
	inTheWay := filepath.Join(n.cfg.DataDir, "promote")
	if err := os.MkdirAll(inTheWay+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := n.try(postgres.Task{Kind: postgres.TaskPromote})
	wantError(t, err, "ask for the promotion")
	if !n.look().PromotionAsked {
		t.Error("nothing tells that a promotion may be pending")
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	n.must(postgres.Task{Kind: postgres.TaskPromote})
}

// TestPromotionEndsTheMarker: who began the start of a copy may have died before it was over, and what it left says that the directory has no row of
// its own. Of a server that writes that is untrue.
func TestPromotionEndsTheMarker(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.must(postgres.Task{Kind: postgres.TaskStart})
	if err := n.writeMarker(marker{Work: postgres.TaskRewind, Whole: true}); err != nil {
		t.Fatal(err)
	}
	n.must(postgres.Task{Kind: postgres.TaskPromote})
	if m := n.readMarker(); m != nil {
		t.Errorf("the primary's directory is marked as %+v", m)
	}
}
