package tlsfile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// ClientExpired is in the text of each error that Refusal has completed.
const ClientExpired = "the client certificate expired"

// Refusal completes an error of a connection made with cfg: where the other side has refused, and the client certificate has expired, it says so. Servers
// name that cause seldom: Go's before 1.20 say "bad certificate", Java's "unknown certificate". A certificate that has expired is no error by itself, as a
// server may not look at it.
func Refusal(err error, cfg *tls.Config) error {
	var refused *net.OpError
	if !errors.As(err, &refused) || refused.Op != "remote error" || len(cfg.Certificates) == 0 {
		return err
	}
	leaf := cfg.Certificates[0].Leaf
	if leaf == nil || !time.Now().After(leaf.NotAfter) {
		return err
	}
	return fmt.Errorf("%w: %s on %s", err, ClientExpired, leaf.NotAfter.UTC().Format(time.DateTime+" UTC"))
}

// Telling is conn, made with cfg, whose reads fail with what Refusal says. In TLS 1.3 a client is done before the server has looked at its certificate.
func Telling(conn net.Conn, cfg *tls.Config) net.Conn { return telling{conn, cfg} }

type telling struct {
	net.Conn
	cfg *tls.Config
}

func (t telling) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err != nil {
		err = Refusal(err, t.cfg)
	}
	return n, err
}
