//go:build linux

package testcluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// EndSession implements Store. ZooKeeper has no command for it: whoever knows a session's id and password may take the session over and close it.
// The client library can do that only with a session of its own, so this speaks the protocol (ZooKeeper's zookeeper.jute: ConnectRequest,
// RequestHeader).
func (z *ZooKeeper) EndSession(ctx context.Context, session string) error {
	id, err := strconv.ParseUint(session, 0, 64)
	if err != nil {
		return err
	}
	_, err = first(ctx, z.Addresses(), func(ctx context.Context, address string) (struct{}, error) {
		conn, err := z.dial(ctx, "tcp", address)
		if err != nil {
			return struct{}{}, err
		}
		defer conn.Close()
		if end, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(end)
		}
		return struct{}{}, closeSession(conn, id)
	})
	return err
}

// closeSession takes a session over and closes it.
func closeSession(conn net.Conn, id uint64) error {
	password := sessionPassword(id)
	ask := binary.BigEndian.AppendUint32(nil, 0)                                        // version of the protocol
	ask = binary.BigEndian.AppendUint64(ask, 0)                                         // the last change that we have seen
	ask = binary.BigEndian.AppendUint32(ask, uint32((10 * time.Second).Milliseconds())) // timeout
	ask = binary.BigEndian.AppendUint64(ask, id)
	ask = append(binary.BigEndian.AppendUint32(ask, uint32(len(password))), password...)
	answer, err := exchange(conn, ask)
	if err != nil {
		return err
	}
	if len(answer) < 16 || binary.BigEndian.Uint32(answer[4:]) == 0 || binary.BigEndian.Uint64(answer[8:]) != id {
		return fmt.Errorf("the session %#x is not given to us: %x", id, answer)
	}
	const opClose = -11
	ask = binary.BigEndian.AppendUint32(nil, 1) // number of the request
	answer, err = exchange(conn, binary.BigEndian.AppendUint32(ask, uint32(opClose&0xffffffff)))
	if err == nil && (len(answer) < 16 || binary.BigEndian.Uint32(answer[12:]) != 0) {
		err = fmt.Errorf("the session %#x is not closed: %x", id, answer)
	}
	if errors.Is(err, io.EOF) { // it closes the connection, too
		return nil
	}
	return err
}

// exchange sends one message and reads one.
func exchange(conn net.Conn, ask []byte) ([]byte, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(ask))), ask...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<20))
	_, err := io.ReadFull(conn, answer)
	return answer, err
}

// sessionPassword is what ZooKeeper gives to the owner of a session: 16 bytes of java.util.Random, seeded with the id and a constant
// (ZooKeeperServer.generatePasswd, superSecret).
func sessionPassword(id uint64) []byte {
	const multiplier, mask = 0x5DEECE66D, 1<<48 - 1
	seed := (id ^ 0xB3415C00 ^ multiplier) & mask
	var password []byte
	for range 4 {
		seed = (seed*multiplier + 0xB) & mask
		password = binary.LittleEndian.AppendUint32(password, uint32(seed>>16))
	}
	return password
}
