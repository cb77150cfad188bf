// Prints BLAKE2s, HMAC, HKDF, AEAD, box and X25519 vectors made by golang.org/x/crypto and the standard library.
//
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/hkdf"
	"golang.org/x/crypto/nacl/box"
)

// pattern yields n bytes that depend on tag: the SHA-256 of a counter, so that the file can be made again.
func pattern(tag string, n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		s := sha256.Sum256([]byte(fmt.Sprintf("%s %d", tag, i)))
		b = append(b, s[:]...)
	}
	return b[:n]
}

func newHash() hash.Hash {
	h, _ := blake2s.New256(nil)
	return h
}

// x prints bytes, or "-" for none.
func x(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return fmt.Sprintf("%x", b)
}

func main() {
	var out bytes.Buffer
	p := func(f string, a ...any) { fmt.Fprintf(&out, f+"\n", a...) }
	p("# Generator: tests/interop/mkvectors/crypto. Source: golang.org/x/crypto v0.54.0. Date: 2026-11-23.")
	p("# blake2s MSG HASH | mac16 KEY MSG MAC | hmac KEY MSG MAC | hkdf CK IKM OUT1 OUT2 OUT3 | aead KEY NONCE AD MSG SEALED")
	p("# xaead KEY NONCE AD MSG SEALED | box PRIV PUB NONCE MSG SEALED | x25519 PRIV PUB SHARED. \"-\" is the empty string.")
	for _, n := range []int{0, 1, 3, 63, 64, 65, 127, 128, 129, 255, 1024} {
		m := pattern("blake2s", n)
		s := blake2s.Sum256(m)
		p("blake2s %s %x", x(m), s)
	}
	for _, k := range []int{16, 32} {
		for _, n := range []int{0, 32, 64, 100, 148} {
			key, m := pattern("mac key", k), pattern("mac", n)
			h, err := blake2s.New128(key)
			if err != nil {
				panic(err)
			}
			h.Write(m)
			p("mac16 %x %s %x", key, x(m), h.Sum(nil))
		}
	}
	for _, k := range []int{1, 32, 64, 65, 200} {
		for _, n := range []int{0, 1, 100} {
			key, m := pattern("hmac key", k), pattern("hmac", n)
			h := hmac.New(newHash, key)
			h.Write(m)
			p("hmac %x %s %x", key, x(m), h.Sum(nil))
		}
	}
	for _, n := range []int{0, 32, 80} {
		ck, ikm := pattern("ck", 32), pattern("ikm", n)
		o := make([]byte, 96)
		if _, err := io.ReadFull(hkdf.New(newHash, ikm, ck, nil), o); err != nil {
			panic(err)
		}
		p("hkdf %x %s %x %x %x", ck, x(ikm), o[:32], o[32:64], o[64:])
	}
	for _, n := range []int{0, 1, 16, 33, 64, 65, 256, 1280} {
		for _, ad := range []int{0, 12, 32} {
			key := pattern("aead key", 32)
			a, _ := chacha20poly1305.New(key)
			m, nonce, add := pattern("aead", n), pattern("nonce", 12), pattern("ad", ad)
			p("aead %x %x %s %s %x", key, nonce, x(add), x(m), a.Seal(nil, nonce, m, add))
			ax, _ := chacha20poly1305.NewX(key)
			nonce = pattern("nonce", 24)
			p("xaead %x %x %s %s %x", key, nonce, x(add), x(m), ax.Seal(nil, nonce, m, add))
		}
	}
	for i, n := range []int{0, 1, 62, 200} {
		priv := [32]byte(pattern(fmt.Sprintf("box priv %d", i), 32))
		other := [32]byte(pattern(fmt.Sprintf("box other %d", i), 32))
		pub, _ := curve25519.X25519(other[:], curve25519.Basepoint)
		peer := [32]byte(pub)
		nonce := [24]byte(pattern("box nonce", 24))
		m := pattern("box", n)
		p("box %x %x %x %s %x", priv, peer, nonce, x(m), box.Seal(nil, m, &nonce, &peer, &priv))
		shared, _ := curve25519.X25519(priv[:], pub)
		p("x25519 %x %x %x", priv, peer, shared)
	}
	// Edges of the field: points beyond the prime, bit 255, points of the twist, limbs and scalars of ones and zeros.
	var u [][32]byte
	for _, low := range []byte{2, 3, 4, 9, 0xeb, 0xef, 0xf0, 0xff} {
		for _, rest := range []byte{0, 0xff} {
			e := [32]byte(bytes.Repeat([]byte{rest}, 32))
			e[0] = low
			u = append(u, e) // bit 255 is that of rest
			e[31] ^= 0x80
			u = append(u, e)
		}
	}
	for n := 25; n < 255; n += 23 { // 2^n and 2^n - 1 begin and end limbs
		var e [32]byte
		e[n/8] = 1 << (n % 8)
		u = append(u, e)
		for i := range e {
			if i < n/8 {
				e[i] = 0xff
			}
		}
		e[n/8]--
		u = append(u, e)
	}
	scalars := [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), pattern("edge scalar", 32)}
	for i, e := range u {
		priv := scalars[i%3]
		if shared, err := curve25519.X25519(priv, e[:]); err == nil { // an error is an all-zero result
			p("x25519 %x %x %x", priv, e, shared)
		}
	}
	// Poly1305 near its prime: long runs of ones; block ends.
	for _, n := range []int{15, 17, 31, 32, 47, 48, 63, 79, 127, 128, 129, 191, 192, 193} {
		key := pattern(fmt.Sprintf("edge key %d", n), 32)
		a, _ := chacha20poly1305.New(key)
		m, nonce, add := bytes.Repeat([]byte{0xff}, n), pattern("nonce", 12), bytes.Repeat([]byte{0xff}, n%33)
		p("aead %x %x %s %s %x", key, nonce, x(add), x(m), a.Seal(nil, nonce, m, add))
		p("aead %x %x %s %s %x", key, nonce, x(add), x(a.Seal(nil, nonce, m, nil)[:n]), a.Seal(nil, nonce, a.Seal(nil, nonce, m, nil)[:n], add))
	}
	os.Stdout.Write(out.Bytes())
}
