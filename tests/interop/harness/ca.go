// A certificate authority that lives as long as one lab.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates; its own is in the file Path.
type CA struct {
	Path string
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewCA makes an authority with its files in dir.
func NewCA(tb testing.TB, dir, name string) *CA {
	tb.Helper()
	ca := &CA{dir: dir, Path: filepath.Join(dir, name+".pem")}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	var der []byte
	ca.key, der = sign(tb, template, nil, nil)
	ca.cert, _ = x509.ParseCertificate(der)
	writePEM(tb, ca.Path, "CERTIFICATE", der)
	return ca
}

// Issue writes <name>.crt and <name>.key for the given host names and addresses and returns their paths.
func (ca *CA) Issue(tb testing.TB, name string, hosts ...string) (crt, key string) {
	tb.Helper()
	leaf, der := sign(tb, leafTemplate(name, hosts), ca.cert, ca.key)
	return writePair(tb, filepath.Join(ca.dir, name), leaf, der)
}

// SelfSigned writes <dir>/<name>.crt and .key, signed by no authority, and returns the SHA-256 of the certificate in hex.
func SelfSigned(tb testing.TB, dir, name string, hosts ...string) (crt, key, sha string) {
	tb.Helper()
	leaf, der := sign(tb, leafTemplate(name, hosts), nil, nil)
	crt, key = writePair(tb, filepath.Join(dir, name), leaf, der)
	sum := sha256.Sum256(der)
	return crt, key, hex.EncodeToString(sum[:])
}

func leafTemplate(name string, hosts []string) *x509.Certificate {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

func sign(tb testing.TB, t, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = t, key
	}
	t.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	t.NotBefore = time.Now().Add(-48 * time.Hour)
	t.NotAfter = time.Now().Add(48 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	return key, der
}

func writePair(tb testing.TB, base string, key *ecdsa.PrivateKey, der []byte) (string, string) {
	tb.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, base+".crt", "CERTIFICATE", der)
	writePEM(tb, base+".key", "PRIVATE KEY", raw)
	return base + ".crt", base + ".key"
}

func writePEM(tb testing.TB, path, kind string, der []byte) {
	tb.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
}
