// Package resttest has scripted parts for tests of what speaks to the REST API: a node whose status the test publishes, a
// store of one value, and peers with prepared answers.
package resttest
