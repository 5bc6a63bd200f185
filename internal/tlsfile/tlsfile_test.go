package tlsfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a self-signed certificate with the given serial number and its key.
func writePair(t testing.TB, dir string, serial int64) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	write(t, p.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, p.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return p
}

func write(t testing.TB, name string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyInTheCertificateFile(t *testing.T) {
	p := writePair(t, t.TempDir(), 1)
	cert, _ := os.ReadFile(p.CertFile)
	key, _ := os.ReadFile(p.KeyFile)
	write(t, p.CertFile, append(cert, key...))
	if _, err := (Pair{CertFile: p.CertFile}).Load(); err != nil {
		t.Error(err)
	}
}

// The keys are encrypted by OpenSSL itself, in the forms that its commands write.
func TestEncryptedKeys(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("openssl is missing")
		}
		t.Skip("openssl is missing")
	}
	p := writePair(t, t.TempDir(), 1)
	for _, args := range []string{
		"pkcs8 -topk8 -v2 aes256", "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA512", "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1",
		"ec -aes256",
	} {
		t.Run(args, func(t *testing.T) {
			encrypted := filepath.Join(t.TempDir(), "key.pem")
			command := append(strings.Fields(args), "-in", p.KeyFile, "-out", encrypted, "-passout", "pass:secret word")
			if out, err := exec.Command(openssl, command...).CombinedOutput(); err != nil {
				t.Fatalf("openssl: %v\n%s", err, out)
			}
			good := Pair{CertFile: p.CertFile, KeyFile: encrypted, Password: "secret word"}
			if _, err := good.Load(); err != nil {
				t.Error(err)
			}
			good.Password = "wrong"
			if _, err := good.Load(); err == nil {
				t.Error("a wrong password was taken")
			}
		})
	}
}

func TestCachedFollowsTheFiles(t *testing.T) {
	dir := t.TempDir()
	p := writePair(t, dir, 1)
	c, err := NewCached(p)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		leaf, err := x509.ParseCertificate(c.Get().Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("serial %d", got)
	}
	write(t, p.CertFile, []byte("half a file"))
	if got := serial(); got != 1 {
		t.Fatalf("serial %d after a broken file, want the last good one", got)
	}
	writePair(t, dir, 2)
	if got := serial(); got != 2 {
		t.Fatalf("serial %d, want the renewed certificate", got)
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	p := writePair(t, dir, 1)
	empty := filepath.Join(dir, "empty")
	write(t, empty, nil)
	for name, load := range map[string]func() error{
		"no certificate": func() error { _, err := Pair{CertFile: filepath.Join(dir, "none")}.Load(); return err },
		"no key":         func() error { _, err := Pair{CertFile: p.CertFile}.Load(); return err },
		"empty key":      func() error { _, err := Pair{CertFile: p.CertFile, KeyFile: empty}.Load(); return err },
		"empty pool":     func() error { _, err := Pool(empty); return err },
	} {
		if err := load(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func ExamplePool() {
	_, err := Pool("/nonexistent/ca.pem")
	fmt.Println(err)
	// Output: read CA certificates: open /nonexistent/ca.pem: no such file or directory
}
