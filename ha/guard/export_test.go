package guard

// Process is the process id of the guard, 0 if there is none.
func (g *Guard) Process() int {
	p := g.process()
	if p == nil {
		return 0
	}
	return p.pid
}
