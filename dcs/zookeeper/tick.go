package zookeeper

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"
)

// tickTime is the ensemble's tickTime: what a server says to the four-letter command `conf`, where its whitelist permits that; else what is
// configured, else ZooKeeper's default. It fails only if no server can be reached.
func (b *Backend) tickTime(ctx context.Context) (time.Duration, error) {
	b.mu.Lock()
	known := b.tick
	b.mu.Unlock()
	if known != 0 {
		return known, nil
	}
	raw, _, err := b.pool.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	_ = raw.SetDeadline(time.Now().Add(third(ctx)))
	var answer []byte
	if _, err := io.WriteString(raw, "conf"); err == nil {
		answer, _ = io.ReadAll(io.LimitReader(raw, 1<<16))
	}
	tick, said := parseTick(string(answer))
	if !said {
		tick = b.cfg.Tick
	}
	if tick == 0 {
		tick = defaultTick
	}
	if len(answer) > 0 { // else it may answer the next time
		b.mu.Lock()
		b.tick = tick
		b.mu.Unlock()
	}
	return tick, nil
}

func parseTick(conf string) (time.Duration, bool) {
	for line := range strings.Lines(conf) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "tickTime="); ok {
			ms, err := strconv.Atoi(value)
			return time.Duration(ms) * time.Millisecond, err == nil && ms > 0
		}
	}
	return 0, false
}
