package dcs

import (
	"bytes"
	"fmt"
	"strings"
)

// maxValue is the largest value that is decoded. Nothing of a cluster comes near it; etcd takes requests of 1.5 MB.
const maxValue = 1 << 20

// Decode makes a Cluster of what a store holds below prefix (see Prefix). It never fails: what cannot be understood is
// absent, and a sentence about it is in Problems.
func Decode(prefix string, snap Snapshot) Cluster {
	return new(decoder).decode(prefix, snap)
}

// decoder remembers what it decoded, so that values which did not change cost a comparison.
type decoder struct {
	cache  map[string]decoded
	remove func(key string) string // how to delete a key by hand; nil: not known
}

// decoded is a value and what was made of it.
type decoded struct {
	value    []byte
	result   any
	problems []string
}

// cached decodes the value of e with f, or returns the last result if the value is the same.
func cached[T any](d *decoder, c *Cluster, e *Entry, f func([]byte) (T, []string)) T {
	if old, ok := d.cache[e.Key]; ok && bytes.Equal(old.value, e.Value) {
		if r, ok := old.result.(T); ok {
			c.report(e.Key, old.problems)
			return r
		}
	}
	var r T
	var problems []string
	if len(e.Value) > maxValue {
		problems = []string{fmt.Sprintf("its value has %d bytes, more than any node writes; it is ignored", len(e.Value))}
	} else {
		r, problems = f(e.Value)
	}
	if d.cache == nil {
		d.cache = make(map[string]decoded)
	}
	d.cache[e.Key] = decoded{e.Value, r, problems}
	c.report(e.Key, problems)
	return r
}

// report adds sentences about a key.
func (c *Cluster) report(key string, problems []string) {
	for _, p := range problems {
		c.Problems = append(c.Problems, fmt.Sprintf("key %s: %s", quote(key), p))
	}
}

func (d *decoder) decode(prefix string, snap Snapshot) Cluster {
	if len(d.cache) > 2*len(snap.Entries)+16 {
		clear(d.cache) // keys that are gone
	}
	c := Cluster{Version: snap.Version, StoreID: snap.StoreID}
	var optime *Entry
	status := false
	for i := range snap.Entries {
		e := &snap.Entries[i]
		name, ok := strings.CutPrefix(e.Key, prefix)
		if !ok {
			continue
		}
		switch name {
		case keyLegacyOptime:
			optime = e
		case keyStatus:
			status = true
			c.Status = cached(d, &c, e, decodeStatus)
		default:
			d.key(&c, name, e)
		}
	}
	if optime != nil && !status {
		c.Status = cached(d, &c, optime, decodeStatus)
	}
	d.withoutSession(&c, prefix)
	return c
}

// key decodes one key by its name below the prefix. Names that we do not know belong to others.
func (d *decoder) key(c *Cluster, name string, e *Entry) {
	meta := Meta{Version: e.Version, Created: e.Created, Session: e.Session}
	switch name {
	case keyInitialize:
		id, problems := decodeSystemID(e.Value)
		c.Initialize = &Initialize{SystemID: id, Entry: meta}
		c.report(e.Key, problems)
	case keyLeader:
		if len(e.Value) > 0 {
			name, problems := decodeName(e.Value)
			c.Leader = &Leader{Name: name, Meta: meta}
			c.report(e.Key, problems)
		}
	case keyConfig:
		if raw := cached(d, c, e, decodeConfig); raw != nil {
			c.Config = &Config{Version: e.Version, Raw: raw}
		}
	case keyFailover:
		if f := cached(d, c, e, decodeFailover); f != nil {
			c.Failover = &Failover{e.Version, f.Leader, f.Candidate, f.ScheduledAt}
		}
	case keySync:
		if s := cached(d, c, e, decodeSync); s != nil {
			c.Sync = &Sync{e.Version, s.Leader, s.Standby, s.Quorum}
		}
	case keyHistory:
		c.History, c.HistoryVersion = cached(d, c, e, decodeHistory), e.Version
	case keyTanist:
		r := cached(d, c, e, decodeReserved)
		c.Reserved = Reserved{Version: e.Version, Timeline: r.Timeline}
	case keyFailsafe:
		c.Failsafe, c.FailsafeVersion = cached(d, c, e, decodeFailsafe), e.Version
	default:
		member, ok := strings.CutPrefix(name, keyMembers)
		if ok && member != "" && !strings.Contains(member, "/") {
			c.Members = append(c.Members, Member{Name: member, Meta: meta, Data: cached(d, c, e, decodeMember)})
		}
	}
}

// decodeName reads the leader key. A text that cannot be a name is shortened; it is nobody's, and the key is held all the same.
func decodeName(value []byte) (string, []string) {
	if len(value) <= 512 {
		return string(value), nil
	}
	return string(value[:64]) + "...", []string{"its value is too long for a member's name; whoever wrote it is no node of this cluster"}
}

// decodeSystemID reads /initialize: empty, or a system identifier.
func decodeSystemID(value []byte) (string, []string) {
	if len(value) == 0 || ValidSystemID(string(value)) {
		return string(value), nil
	}
	return string(value[:min(len(value), 64)]), []string{"its value " + quote(string(value)) + " is not a system identifier"}
}

// ValidSystemID reports whether s can be the system identifier of PostgreSQL, by Patroni's measure: ten digits or more.
func ValidSystemID(s string) bool {
	if len(s) < 10 || len(s) > 20 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// withoutSession reports leader and member keys that no session ends.
func (d *decoder) withoutSession(c *Cluster, prefix string) {
	if l := c.Leader; l != nil && l.Meta.Session == "" {
		key := prefix + keyLeader
		c.report(key, []string{fmt.Sprintf(
			"it has no session, so it never expires and nobody else can lead; if %s does not lead, delete this key with the store's own tool%s",
			quote(l.Name), d.command(key))})
	}
	for _, m := range c.Members {
		if key := prefix + keyMembers + m.Name; m.Meta.Session == "" {
			c.report(key, []string{fmt.Sprintf(
				"it has no session, so it stays when the node is gone; if no agent %s runs, delete this key with the store's own tool%s",
				quote(m.Name), d.command(key))})
		}
	}
}

// command is how to delete a key, where that is known.
func (d *decoder) command(key string) string {
	if d.remove == nil {
		return ""
	}
	return " (" + d.remove(key) + ")"
}
