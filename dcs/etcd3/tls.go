package etcd3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// transportCredentials returns what a connection to a needs.
func transportCredentials(a address, files *TLS) credentials.TransportCredentials {
	if !a.secure {
		return insecure.NewCredentials()
	}
	if files == nil {
		files = &TLS{}
	}
	return &freshTLS{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), files: *files}
}

// freshTLS is TLS whose certificates are read from their files at each handshake, so that renewing them needs no restart.
type freshTLS struct {
	credentials.TransportCredentials // of an empty configuration: tells gRPC what kind this is
	files                            TLS
}

func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := f.files.load()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, raw)
}

func (f *freshTLS) Clone() credentials.TransportCredentials {
	return &freshTLS{TransportCredentials: f.TransportCredentials.Clone(), files: f.files}
}

func (t TLS) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read etcd's certificate authority: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd's certificate authority: no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate for etcd: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
