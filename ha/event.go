package ha

// Event is a fact for Fold.
type Event interface{ event() }
