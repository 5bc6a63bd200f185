// Package version says what the programs of this module are.
package version

import "github.com/tanist-ha/tanist/ha"

const (
	// Release is tanist's own version.
	Release = "0.1.0"
	// Patroni is the version of Patroni whose configuration, keys and REST API this release speaks. Members publish it,
	// because Patroni's members and users' tools parse it and change their behaviour by it.
	Patroni = ha.PatroniVersion
)
