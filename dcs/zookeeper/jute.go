package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Operations of ZooKeeper's protocol (org.apache.zookeeper.ZooDefs.OpCode).
const (
	opCreate       int32 = 1
	opDelete       int32 = 2
	opGetData      int32 = 4
	opSetData      int32 = 5
	opGetChildren  int32 = 8
	opPing         int32 = 11
	opCheck        int32 = 13
	opMulti        int32 = 14
	opMultiRead    int32 = 22
	opAuth         int32 = 100
	opAddWatch     int32 = 106
	opCloseSession int32 = -11
	opError        int32 = -1
)

// Numbers that answers have in the place of a request's.
const (
	xidEvent int32 = -1
	xidPing  int32 = -2
	xidAuth  int32 = -4
)

// What addWatch asks for: every event below a path, until the connection ends.
const watchPersistentRecursive int32 = 1

// Kinds of nodes that create makes.
const (
	flagPersistent int32 = 0
	flagEphemeral  int32 = 1
)

// encoder writes ZooKeeper's serialization, "jute": big-endian numbers, and bytes after their length.
type encoder struct{ buf []byte }

func (e *encoder) int32(v int32) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *encoder) int64(v int64) { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }

func (e *encoder) bool(v bool) {
	if v {
		e.buf = append(e.buf, 1)
		return
	}
	e.buf = append(e.buf, 0)
}

func (e *encoder) bytes(v []byte) {
	e.int32(int32(len(v)))
	e.buf = append(e.buf, v...)
}

func (e *encoder) string(v string) {
	e.int32(int32(len(v)))
	e.buf = append(e.buf, v...)
}

// decoder reads it. After the first error everything is zero.
type decoder struct {
	buf []byte
	err error
}

var errShort = errors.New("an answer of ZooKeeper is cut short")

func (d *decoder) take(n int) []byte {
	if d.err == nil && (n < 0 || n > len(d.buf)) {
		d.err = errShort
	}
	if d.err != nil {
		return nil
	}
	out := d.buf[:n:n]
	d.buf = d.buf[n:]
	return out
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.take(1)
	return b != nil && b[0] != 0
}

// bytes returns a part of the buffer; a length of -1 stands for none.
func (d *decoder) bytes() []byte {
	n := d.int32()
	if n <= 0 && d.err == nil {
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) strings() []string {
	var all []string
	for n := d.int32(); n > 0 && d.err == nil; n-- {
		all = append(all, d.string())
	}
	return all
}

// stat is what ZooKeeper keeps about a node (org.apache.zookeeper.data.Stat).
type stat struct {
	czxid, mzxid    int64 // the transactions that created it and that wrote it last
	ctime           int64 // milliseconds of the wall clock of ZooKeeper's leader
	version         int32 // writes of the data since its creation
	cversion        int32 // children that came or went
	owner           int64 // the session that an ephemeral node ends with
	numberOfChilden int32
}

func (d *decoder) stat() stat {
	var s stat
	s.czxid, s.mzxid, s.ctime = d.int64(), d.int64(), d.int64()
	_ = d.int64() // mtime
	s.version, s.cversion = d.int32(), d.int32()
	_ = d.int32() // version of the ACL
	s.owner = d.int64()
	_ = d.int32() // length of the data
	s.numberOfChilden = d.int32()
	_ = d.int64() // pzxid
	return s
}

// operation is one part of a multi or multiRead.
type operation struct {
	kind    int32
	path    string
	data    []byte
	version int32 // of delete, setData, check
	flags   int32 // of create
	acl     []ACL // of create
}

// encodeOperations is the body of a multi or multiRead.
func encodeOperations(ops []operation) []byte {
	var e encoder
	for _, o := range ops {
		e.int32(o.kind)
		e.bool(false)
		e.int32(-1)
		e.string(o.path)
		switch o.kind {
		case opCreate:
			e.bytes(o.data)
			e.int32(int32(len(o.acl)))
			for _, a := range o.acl {
				e.int32(int32(a.Perms))
				e.string(a.Scheme)
				e.string(a.ID)
			}
			e.int32(o.flags)
		case opSetData:
			e.bytes(o.data)
			e.int32(o.version)
		case opDelete, opCheck:
			e.int32(o.version)
		case opGetData, opGetChildren:
			e.bool(false) // no watch
		}
	}
	e.int32(-1)
	e.bool(true)
	e.int32(-1)
	return e.buf
}

// result is the answer to one operation.
type result struct {
	code     code
	data     []byte
	stat     stat
	children []string
}

// decodeResults is the reverse, for n operations.
func decodeResults(body []byte, n int) ([]result, error) {
	d := decoder{buf: body}
	out := make([]result, 0, n)
	for d.err == nil {
		kind, done, _ := d.int32(), d.bool(), d.int32()
		if done {
			break
		}
		var r result
		switch kind {
		case opError:
			r.code = code(d.int32())
		case opCreate:
			_ = d.string() // the path
		case opSetData:
			r.stat = d.stat()
		case opGetData:
			r.data = d.bytes()
			r.stat = d.stat()
		case opGetChildren:
			r.children = d.strings()
		case opDelete, opCheck:
		default:
			return nil, fmt.Errorf("an answer of ZooKeeper has a part of unknown kind %d", kind)
		}
		out = append(out, r)
	}
	if d.err == nil && len(out) != n {
		d.err = fmt.Errorf("ZooKeeper answered %d parts of %d", len(out), n)
	}
	return out, d.err
}
