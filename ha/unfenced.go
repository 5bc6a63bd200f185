package ha

import (
	"context"

	"github.com/tanist-ha/tanist/postgres"
)

// Unfenced is the Fence of a node that has none. Such a node keeps to its rules, but a frozen or killed agent leaves its server
// writable after its authority has ended. Status says "unfenced".
type Unfenced struct{}

// Arm does nothing.
func (Unfenced) Arm(context.Context, FenceOrder) error { return nil }

// Disarm does nothing.
func (Unfenced) Disarm(context.Context, *postgres.Postmaster) error { return nil }

// Lost never tells anything.
func (Unfenced) Lost() <-chan FenceLoss { return nil }

// Describe says "unfenced".
func (Unfenced) Describe() string { return "unfenced" }

var _ Fence = Unfenced{}
