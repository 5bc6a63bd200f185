package memory

import "github.com/tanist-ha/tanist/dcs"

// Op describes a request to the function that decides its fate.
type Op struct {
	Kind    string   // read, apply, open, watch, keepalive, confirm, close
	Key     string   // prefix of read and watch
	Session string   // id, for keepalive, confirm and close
	Txn     *dcs.Txn // for apply and confirm; read-only
}

// Fate is what happens to a request.
type Fate int

// The fates.
const (
	Served      Fate = iota // carried out and answered
	Refused                 // dcs.ErrUnavailable: no effect
	RequestLost             // dcs.ErrUnknown, and it had no effect
	ReplyLost               // dcs.ErrUnknown, although it was carried out
	Full                    // dcs.ErrSettled, and it had no effect: there is no room for it (a quota of etcd)
	FullNow                 // dcs.ErrSettled, although it was carried out: it took the last room
	// Deposed: a leader of the store that was deposed and does not know answers keepalives, of which its successor never hears; everything else
	// is served by the successor. A Confirm whose two parts were answered by two leaders is dcs.ErrUnknown.
	Deposed
)

// Inject makes f decide the fate of each later request of this handle; nil serves all. It is also a way to count requests.
func (b *Backend) Inject(f func(Op) Fate) {
	if f == nil {
		b.inject.Store(nil)
		return
	}
	b.inject.Store(&f)
}

func (b *Backend) fate(op Op) Fate {
	if f := b.inject.Load(); f != nil {
		return (*f)(op)
	}
	return Served
}
