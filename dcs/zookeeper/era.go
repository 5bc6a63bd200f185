package zookeeper

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"
)

// era remembers which store answers and how far it had come. ZooKeeper has no name for itself; what tells one store from another is the birth of
// the topmost folder (its transaction and time), and the number of the last transaction, which never goes back.
type era struct {
	logger *slog.Logger

	mu sync.Mutex
	moment
	zxid int64
}

// moment is what an answer to a request that is sent now must not fall short of.
type moment struct {
	root     string // the birth of the topmost folder, "" while there was none
	restores int    // how often the numbers went back, or the topmost folder disappeared
	reached  int64
}

// now is asked before a request is sent.
func (e *era) now() moment {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.moment
	m.reached = e.zxid
	return m
}

// see takes in a linearizable answer to a request that was sent at from: its number includes all that was shown before. root is the topmost
// folder as the answer shows it, nil if it is absent.
func (e *era) see(from moment, zxid int64, root *stat) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if from.root != e.root || from.restores != e.restores {
		return // overtaken
	}
	birth := ""
	if root != nil {
		birth = fmt.Sprintf("%x-%x", root.czxid, root.ctime)
	}
	switch {
	case zxid < from.reached:
		e.logger.Warn("ZooKeeper's transaction numbers went back: wiped, or restored from a backup?", "was", from.reached, "is", zxid)
		e.restores++
		e.zxid = 0
	case birth == e.root:
	case birth == "":
		e.logger.Warn("ZooKeeper has lost the topmost folder: wiped?", "was", e.root)
		e.restores++
	case e.root != "":
		e.logger.Warn("another ZooKeeper answers, or the topmost folder was made anew", "was", e.root, "is", birth)
	}
	e.root = birth
	e.zxid = max(e.zxid, zxid)
}

// store is the identity of the store that answers now; "" before anything was ever written to it.
func (e *era) store() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.root
	if e.restores > 0 {
		id += "/" + strconv.Itoa(e.restores)
	}
	return id
}
