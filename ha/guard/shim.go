package guard

import "github.com/tanist-ha/tanist/ha/guard/internal/warden"

// Command returns the program and its whole argument vector (args[0] included, as os.StartProcess takes it) that waits on file 3 for one
// byte and then executes argv, whose first word is a path, under the same pid. At end of file it exits without doing so.
func (g *Guard) Command(argv []string) (path string, args []string) {
	return g.cfg.Executable, append([]string{warden.ShimTitle}, argv...)
}
