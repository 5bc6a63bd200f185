package guard

import "github.com/tanist-ha/tanist/ha/guard/internal/warden"

// Main must be the first line of a program's main: it runs the guard process or the start shim, if this process was started as one, and
// does not return then.
//
// (Package initialisation has usually done so already, before the program's other packages took memory. Main is what makes it certain,
// and what a reader sees.)
func Main() { warden.Enter() }
