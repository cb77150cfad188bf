// A certificate authority that lives as long as one lab.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// CA signs certificates; its own is in the file Path.
type CA struct {
	Path   string
	dir    string
	key    crypto.Signer // Signs what Issue makes.
	cert   *x509.Certificate
	chain  [][]byte // Between such a certificate and the root's, as a server shows them.
	newKey func() (crypto.Signer, error)
}

func newECKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newRSAKey(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

// NewCA makes an authority with its files in dir.
func NewCA(tb testing.TB, dir, name string) *CA {
	tb.Helper()
	ca := &CA{dir: dir, Path: filepath.Join(dir, name+".pem"), newKey: newECKey}
	ca.root(tb, name, ca.newKey)
	return ca
}

// NewPublicCA makes one whose certificates are as long as those of a public authority, and have its kinds of keys: the root's is
// RSA 4096, all others RSA 2048, and a server shows the given number of intermediates.
func NewPublicCA(tb testing.TB, dir, name string, intermediates int) *CA {
	tb.Helper()
	ca := &CA{dir: dir, Path: filepath.Join(dir, name+".pem"), newKey: newRSAKey(2048)}
	ca.root(tb, name, newRSAKey(4096))
	for i := range intermediates {
		t := authorityTemplate(fmt.Sprintf("R%d", i))
		t.Subject.Country, t.Subject.Organization = []string{"US"}, []string{"Lab's Encrypt"}
		asPublic(t, 0)
		key, der := sign(tb, ca.newKey, t, ca.cert, ca.key)
		ca.key = key
		ca.cert, _ = x509.ParseCertificate(der)
		ca.chain = append([][]byte{der}, ca.chain...)
	}
	return ca
}

// Bundles writes the root as certificate bundles, names and keys without signatures: one of ESP-IDF 5.0 to 5.3, one of 5.4 and later.
func (ca *CA) Bundles(tb testing.TB) (to53, from54 string) {
	tb.Helper()
	text, err := os.ReadFile(ca.Path)
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	write := func(ending string, head ...byte) string {
		path := strings.TrimSuffix(ca.Path, ".pem") + ending
		if err := os.WriteFile(path, slices.Concat(head, root.RawSubject, root.RawSubjectPublicKeyInfo), 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	name, key := uint16(len(root.RawSubject)), uint16(len(root.RawSubjectPublicKeyInfo))
	one := func(order binary.AppendByteOrder, head []byte) []byte {
		return order.AppendUint16(order.AppendUint16(head, name), key)
	}
	// How many certificates; or the offset of each, little endian.
	return write(".bundle", one(binary.BigEndian, []byte{0, 1})...), write(".bundle54", one(binary.LittleEndian, []byte{4, 0, 0, 0})...)
}

func (ca *CA) root(tb testing.TB, name string, newKey func() (crypto.Signer, error)) {
	tb.Helper()
	var der []byte
	ca.key, der = sign(tb, newKey, authorityTemplate(name), nil, nil)
	ca.cert, _ = x509.ParseCertificate(der)
	writePEM(tb, ca.Path, "CERTIFICATE", der)
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

// asPublic adds what public authorities put in; scts is the length of the list of signed timestamps.
func asPublic(t *x509.Certificate, scts int) {
	t.IssuingCertificateURL = []string{"http://r0.i.lab.test/"}
	t.CRLDistributionPoints = []string{"http://r0.c.lab.test/104.crl"}
	t.Policies = []x509.OID{mustOID("2.23.140.1.2.1")}
	if scts > 0 {
		list := make([]byte, scts)
		rand.Read(list)
		value, _ := asn1.Marshal(list)
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}}
	}
}

func mustOID(text string) x509.OID {
	oid, err := x509.ParseOID(text)
	if err != nil {
		panic(err)
	}
	return oid
}

// Issue writes <name>.crt and <name>.key for the given host names and addresses and returns their paths.
func (ca *CA) Issue(tb testing.TB, name string, hosts ...string) (crt, key string) {
	tb.Helper()
	return ca.IssueFor(tb, x509.ExtKeyUsageServerAuth, name, hosts...)
}

// IssueFor is Issue for another use than a server's.
func (ca *CA) IssueFor(tb testing.TB, use x509.ExtKeyUsage, name string, hosts ...string) (crt, key string) {
	tb.Helper()
	t := leafTemplate(name, hosts)
	t.ExtKeyUsage = []x509.ExtKeyUsage{use}
	if len(ca.chain) > 0 {
		asPublic(t, 240)
	}
	leaf, der := sign(tb, ca.newKey, t, ca.cert, ca.key)
	return writePair(tb, filepath.Join(ca.dir, name), leaf, append([][]byte{der}, ca.chain...)...)
}

// SelfSigned writes <dir>/<name>.crt and .key, signed by no authority, and returns the SHA-256 of the certificate in hex.
func SelfSigned(tb testing.TB, dir, name string, hosts ...string) (crt, key, sha string) {
	tb.Helper()
	leaf, der := sign(tb, newECKey, leafTemplate(name, hosts), nil, nil)
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

func sign(tb testing.TB, newKey func() (crypto.Signer, error), t, parent *x509.Certificate, parentKey crypto.Signer) (crypto.Signer, []byte) {
	tb.Helper()
	key, err := newKey()
	if err != nil {
		tb.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = t, key
	}
	t.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	t.NotBefore = time.Now().Add(-48 * time.Hour)
	t.NotAfter = time.Now().Add(48 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), parentKey)
	if err != nil {
		tb.Fatal(err)
	}
	return key, der
}

func writePair(tb testing.TB, base string, key crypto.Signer, ders ...[]byte) (string, string) {
	tb.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, base+".crt", "CERTIFICATE", ders...)
	writePEM(tb, base+".key", "PRIVATE KEY", raw)
	return base + ".crt", base + ".key"
}

func writePEM(tb testing.TB, path, kind string, ders ...[]byte) {
	tb.Helper()
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
}
