package dcs

import "time"

// Alive is the answer to a KeepAlive.
type Alive struct {
	Session string        // id of the session that our member key lives with
	TTL     time.Duration // the smaller of asked and granted: what authority may be counted from (safety 1.3)
	Age     time.Duration // how long before this answer the TTL began that is certain: 0 means with the call (see Dated)
	Pace    Pace          `json:",omitzero"` // of renewals of that session
	Version Version       // that the store had reached, 0 if it does not say: newer than our Cluster means "read again"
	Opened  bool          // the session is new (first call, another ttl, or the old one was lost)
}

// KeepAlive asks to prolong this node's session (one for the member key and the leader key), opening one if there is
// none, if it was lost, or if TTL differs from the one it was opened with. A new session carries the member key over.
// While this node holds the leader key, a changed TTL is the business of Renew, which moves both keys in one transaction.
type KeepAlive struct {
	TTL    time.Duration
	Member MemberData
}

// Acquire asks for the leader key.
type Acquire struct {
	Expect   Expect  // what the decision to race was made on; any difference is ErrConflict (safety 3.6)
	Takeover *Leader // not nil: re-bind exactly this life of the key, which an earlier run of this node left (safety 1.6)
	Member   MemberData
	Timeline uint32 // to reserve in the same transaction (see Reserved); 0: none
}

// Expect holds the versions of the keys that a decision read; zero means "was absent".
type Expect struct {
	Sync, Failsafe, History Version
	Reserved                Version
	InitializeCreated       Version // not 0: /initialize must still be this life of it (closed bootstrap, safety 5.3)
	IgnoreInitialize        bool    // true: do not compare /initialize at all
}

// Held is the leader key as we hold it.
type Held struct {
	Leader  Meta          // its incarnation and session
	TTL     time.Duration // of the session
	Age     time.Duration // how long before this answer the TTL began that is certain: 0 means with the call (see Dated)
	Pace    Pace          `json:",omitzero"` // of renewals of that session
	Version Version       // that the store had reached
	Unheard bool          // there are more or fewer members than the last Load has shown: it is time for another
}

// Renew asks for proof that the leader key is still ours, prolonging its session; a changed Status is written in the same
// transaction, and with Publish the member key. A TTL that differs from the session's opens a new session and re-binds member and leader key
// in one write.
type Renew struct {
	Leader   Meta // as last held
	TTL      time.Duration
	Status   *Status           // nil: nothing to say; equal to the last written one: not written again
	Failsafe map[string]string // nil: leave alone; else written if it differs from the last written one
	Member   MemberData        // for a re-bind, or
	Publish  bool              // to be written if it differs from what is written
}

// Release gives the leader key up, in one transaction with the last status and the member key (safety 7.4).
type Release struct {
	Leader Meta
	Status *Status
	Member MemberData
}
