package warden

// rehearse goes through what firing will need, so that code and buffers are in memory.
func (w *warden) rehearse() {}

func lockMemory() bool { return false }
