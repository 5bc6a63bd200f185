// Package hangtest holds the tests of ha/guard that need root, or the real program: a disk that hangs under the guard's own binary, /proc
// that hides processes, and the memory that the guard of cmd/tanist takes. They are skipped where the right is missing, and fail there in
// continuous integration.
package hangtest
