package dcs_test

import (
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// The client is the store that a node asks for.
var _ ha.Store = (*dcs.Client)(nil)
