package etcd3

import (
	"errors"
	"fmt"
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/tanist-ha/tanist/dcs"
)

// encodeTxn turns tx into etcd's words.
func encodeTxn(tx dcs.Txn) (*pb.TxnRequest, error) {
	r := &pb.TxnRequest{}
	for _, c := range tx.If {
		cs, err := encodeCond(c)
		if err != nil {
			return nil, err
		}
		r.Compare = append(r.Compare, cs...)
	}
	for _, w := range tx.Do {
		op, err := encodeWrite(w)
		if err != nil {
			return nil, err
		}
		r.Success = append(r.Success, op)
	}
	switch {
	case tx.Count != "":
		first, last := wholePrefix(tx.Count)
		r.Success = append(r.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{
			RequestRange: &pb.RangeRequest{Key: first, RangeEnd: last, CountOnly: true}}})
	case len(tx.Do) == 0:
		// A transaction without operations is answered from the member's own, possibly old, data. One range that
		// asks for a quorum makes all of it linearizable.
		key := []byte{0}
		if len(tx.If) > 0 {
			key = []byte(tx.If[0].Key)
		}
		r.Success = []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key, CountOnly: true}}}}
	}
	return r, nil
}

func encodeCond(c dcs.Cond) ([]*pb.Compare, error) {
	if c.Key == "" {
		return nil, errors.New("a condition names no key")
	}
	key := []byte(c.Key)
	if c.Absent {
		if c.Version != 0 || c.Created != 0 || c.Session != "" || c.Value != nil {
			return nil, fmt.Errorf("a condition wants %s to be absent and to have a content", c.Key)
		}
		return []*pb.Compare{{Key: key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0}}}, nil
	}
	var out []*pb.Compare
	if c.Version != 0 {
		out = append(out, &pb.Compare{Key: key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: int64(c.Version)}})
	}
	if c.Created != 0 {
		out = append(out, &pb.Compare{Key: key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: int64(c.Created)}})
	}
	if c.Session != "" {
		lease, err := parseSession(c.Session)
		if err != nil {
			return nil, err
		}
		out = append(out, &pb.Compare{Key: key, Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: lease}})
	}
	if c.Value != nil {
		out = append(out, &pb.Compare{Key: key, Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: c.Value}})
	}
	return out, nil
}

func encodeWrite(w dcs.Write) (*pb.RequestOp, error) {
	if w.Key == "" {
		return nil, errors.New("a write names no key")
	}
	if w.Delete {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(w.Key)}}}, nil
	}
	put := &pb.PutRequest{Key: []byte(w.Key), Value: w.Value}
	if w.Session != nil {
		lease, err := parseSession(w.Session.ID())
		if err != nil {
			return nil, err
		}
		put.Lease = lease
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}, nil
}

// applied is what the answer to tx says, if tx was carried out.
func applied(tx dcs.Txn, r *pb.TxnResponse) dcs.Applied {
	a := dcs.Applied{Version: dcs.Version(r.Header.Revision)}
	if n := len(r.Responses); tx.Count != "" && n > 0 {
		a.Count = int(r.Responses[n-1].GetResponseRange().GetCount())
	}
	return a
}

// again returns the transaction that proves, some time after tx was applied as version v, that tx's conditions hold
// then, too: the keys that tx wrote must still be as it left them, all others as tx wanted them.
func again(tx dcs.Txn, v dcs.Version) dcs.Txn {
	wrote := map[string]dcs.Write{}
	for _, w := range tx.Do {
		wrote[w.Key] = w
	}
	out := dcs.Txn{Count: tx.Count}
	seen := map[string]bool{}
	for _, c := range tx.If {
		w, ours := wrote[c.Key]
		switch {
		case !ours:
			out.If = append(out.If, c)
		case seen[c.Key]:
		case w.Delete:
			out.If = append(out.If, dcs.Cond{Key: c.Key, Absent: true})
		default:
			out.If = append(out.If, dcs.Cond{Key: c.Key, Version: v})
		}
		seen[c.Key] = true
	}
	return out
}

func decodeEntries(kvs []*mvccpb.KeyValue) []dcs.Entry {
	entries := make([]dcs.Entry, 0, len(kvs))
	for _, kv := range kvs {
		e := dcs.Entry{Key: string(kv.Key), Value: kv.Value, Version: dcs.Version(kv.ModRevision), Created: dcs.Version(kv.CreateRevision)}
		if kv.Lease != 0 {
			e.Session = formatSession(kv.Lease)
		}
		entries = append(entries, e)
	}
	return entries
}

func formatSession(lease int64) string { return strconv.FormatInt(lease, 16) }

func parseSession(id string) (int64, error) {
	lease, err := strconv.ParseInt(id, 16, 64)
	if err != nil || lease == 0 {
		return 0, fmt.Errorf("%q is not a session of etcd", id)
	}
	return lease, nil
}

// prefixEnd returns the first key behind all keys that begin with prefix; {0} means "no end".
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

// wholePrefix returns key and range end of all keys below prefix.
func wholePrefix(prefix string) (key, end []byte) {
	if prefix == "" {
		return []byte{0}, []byte{0}
	}
	return []byte(prefix), prefixEnd([]byte(prefix))
}
