package warden

import (
	"encoding/binary"
	"errors"
	"time"
)

// The protocol: datagrams (SOCK_SEQPACKET) of a fixed size, little-endian, one reply for each request, and replies with Kind KindTold
// and Seq 0 that the guard sends unasked when its state changes. A later version may use the bytes that are zero today and add kinds;
// it must go on answering version 1, because an agent that is upgraded meets the guard of its predecessor.
const (
	Version      = 1
	RequestBytes = 128
	ReplyBytes   = 192
)

var (
	requestMagic = [4]byte{'T', 'N', 'G', '?'}
	replyMagic   = [4]byte{'T', 'N', 'G', '!'}
)

// Kind is what a request asks for.
type Kind uint16

const (
	KindTold    Kind = iota // only in replies: told unasked
	KindHello               // are you there?
	KindArm                 // guard this postmaster until these times
	KindAttach              // this process will become the postmaster that you are armed for
	KindDisarm              // the server is down, or cannot be written
	KindQuery               // tell your state
	KindDismiss             // another guard has taken over this postmaster: end
)

// State is what a guard is doing.
type State uint16

const (
	StateIdle     State = iota // it guards nothing; it ends with its agent
	StateReserved              // armed for the postmaster that is about to be started
	StateArmed                 // armed for a postmaster that runs
	StateSweeping              // its postmaster has died by itself; what it left is being ended
	StateFired                 // its time has come: the server is being ended, and every order is refused
)

// Result is the fate of a request.
type Result uint16

const (
	ResultOK         Result = iota
	ResultFired             // the guard has fired
	ResultBusy              // what a dead postmaster left is still being ended
	ResultAlive             // the postmaster that is guarded lives, and is another one
	ResultNotArmed          // attach: nobody announced a postmaster
	ResultGone              // there is no such process
	ResultPermission        // the guard may not signal that process
	ResultOtherUser         // that process belongs to another user
	ResultNamespace         // that process is in another pid namespace
	ResultUnreadable        // /proc does not show that process (hidepid)
	ResultPast              // the deadline has passed already
	ResultUnknown           // the guard does not know this kind of request
	ResultMismatch          // dismiss: the guard has another postmaster
)

// Request is what a guard is told. Deadlines are CLOCK_BOOTTIME.
type Request struct {
	Kind             Kind
	Seq              uint64
	PID              int    // of the postmaster; 0 in KindArm: the one that is about to be started; 0 in KindDisarm: none runs
	Start            uint64 // its start time, in clock ticks since boot
	Fast, Quit, Kill time.Duration
	SharedMemory     SharedMemory
}

// SharedMemory names the System V segment by whose attach count the end of the last process of a server is seen.
type SharedMemory struct {
	Known bool
	Key   int32
	ID    int
}

// Reply is the state of a guard after a request.
type Reply struct {
	Version          uint16 // the highest that the guard speaks
	Kind             Kind   // of the request
	Seq              uint64 // of the request
	Result           Result
	State            State
	Locked           bool // the guard's memory is locked
	NoPidfd          bool // the kernel has no pidfd: it looks instead
	Guard            int  // its process id
	PID              int  // of the postmaster; 0: none
	Start            uint64
	Fast, Quit, Kill time.Duration
	Signalled        Step // how far the ladder has gone
	Left             int  // processes of the server that were found by the last look of a sweep
	Attached         int  // processes attached to the shared memory, then
	Stuck            [8]int32
}

// Step is a rung of the ladder.
type Step uint16

const (
	StepNone Step = iota
	StepFast      // SIGINT was sent
	StepQuit      // SIGQUIT was sent
	StepKill      // SIGKILL was sent to all
)

const (
	flagLocked = 1 << iota
	flagNoPidfd
)

const flagSharedMemory = 1

var errMessage = errors.New("not a message of a guard")

// Encode writes r.
func (r *Request) Encode(b *[RequestBytes]byte) {
	*b = [RequestBytes]byte{}
	le := binary.LittleEndian
	copy(b[0:], requestMagic[:])
	le.PutUint16(b[4:], Version)
	le.PutUint16(b[6:], uint16(r.Kind))
	le.PutUint64(b[8:], r.Seq)
	le.PutUint64(b[16:], uint64(r.PID))
	le.PutUint64(b[24:], r.Start)
	le.PutUint64(b[32:], uint64(r.Fast))
	le.PutUint64(b[40:], uint64(r.Quit))
	le.PutUint64(b[48:], uint64(r.Kill))
	if r.SharedMemory.Known {
		le.PutUint32(b[56:], flagSharedMemory)
	}
	le.PutUint32(b[60:], uint32(r.SharedMemory.Key))
	le.PutUint64(b[64:], uint64(r.SharedMemory.ID))
}

// Decode reads a request of any version.
func (r *Request) Decode(b []byte) error {
	if len(b) < RequestBytes || [4]byte(b[:4]) != requestMagic {
		return errMessage
	}
	le := binary.LittleEndian
	r.Kind = Kind(le.Uint16(b[6:]))
	r.Seq = le.Uint64(b[8:])
	r.PID = int(le.Uint64(b[16:]))
	r.Start = le.Uint64(b[24:])
	r.Fast = time.Duration(le.Uint64(b[32:]))
	r.Quit = time.Duration(le.Uint64(b[40:]))
	r.Kill = time.Duration(le.Uint64(b[48:]))
	r.SharedMemory.Known = le.Uint32(b[56:])&flagSharedMemory != 0
	r.SharedMemory.Key = int32(le.Uint32(b[60:]))
	r.SharedMemory.ID = int(le.Uint64(b[64:]))
	return nil
}

// Encode writes r.
func (r *Reply) Encode(b *[ReplyBytes]byte) {
	*b = [ReplyBytes]byte{}
	le := binary.LittleEndian
	copy(b[0:], replyMagic[:])
	le.PutUint16(b[4:], r.Version)
	le.PutUint16(b[6:], uint16(r.Kind))
	le.PutUint64(b[8:], r.Seq)
	le.PutUint16(b[16:], uint16(r.Result))
	le.PutUint16(b[18:], uint16(r.State))
	var flags uint32
	if r.Locked {
		flags |= flagLocked
	}
	if r.NoPidfd {
		flags |= flagNoPidfd
	}
	le.PutUint32(b[20:], flags)
	le.PutUint64(b[24:], uint64(r.Guard))
	le.PutUint64(b[32:], uint64(r.PID))
	le.PutUint64(b[40:], r.Start)
	le.PutUint64(b[48:], uint64(r.Fast))
	le.PutUint64(b[56:], uint64(r.Quit))
	le.PutUint64(b[64:], uint64(r.Kill))
	le.PutUint16(b[72:], uint16(r.Signalled))
	le.PutUint32(b[76:], uint32(r.Left))
	le.PutUint32(b[80:], uint32(r.Attached))
	for i, pid := range r.Stuck {
		le.PutUint32(b[84+4*i:], uint32(pid))
	}
}

// Decode reads a reply of any version.
func (r *Reply) Decode(b []byte) error {
	if len(b) < ReplyBytes || [4]byte(b[:4]) != replyMagic {
		return errMessage
	}
	le := binary.LittleEndian
	r.Version = le.Uint16(b[4:])
	r.Kind = Kind(le.Uint16(b[6:]))
	r.Seq = le.Uint64(b[8:])
	r.Result = Result(le.Uint16(b[16:]))
	r.State = State(le.Uint16(b[18:]))
	flags := le.Uint32(b[20:])
	r.Locked, r.NoPidfd = flags&flagLocked != 0, flags&flagNoPidfd != 0
	r.Guard = int(le.Uint64(b[24:]))
	r.PID = int(le.Uint64(b[32:]))
	r.Start = le.Uint64(b[40:])
	r.Fast = time.Duration(le.Uint64(b[48:]))
	r.Quit = time.Duration(le.Uint64(b[56:]))
	r.Kill = time.Duration(le.Uint64(b[64:]))
	r.Signalled = Step(le.Uint16(b[72:]))
	r.Left = int(int32(le.Uint32(b[76:])))
	r.Attached = int(int32(le.Uint32(b[80:])))
	for i := range r.Stuck {
		r.Stuck[i] = int32(le.Uint32(b[84+4*i:]))
	}
	return nil
}
