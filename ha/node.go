package ha

import (
	"context"
	"errors"
)

// Node runs one member of a cluster.
type Node struct{ cfg Config }

// NewNode checks cfg and returns a node that does nothing until Run.
func NewNode(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Node{cfg: cfg}, nil
}

// Run keeps the node's part of the cluster until ctx ends, then stops the server in order, hands over, and returns. It
// returns an error only where going on would be wrong (another cluster's data, a name that is taken); PostgreSQL is then
// left as it was.
func (n *Node) Run(ctx context.Context) error { return errors.New("being written") }
