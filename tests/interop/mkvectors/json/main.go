// Prints documents, what encoding/json makes of them, and times. Run: go run ./mkvectors/json
//
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"time"
)

// tokens prints a document's token stream: { } [ ] and k:, s:, n: with hex text, t, f, z.
func tokens(doc []byte) string {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var out []string
	type level struct {
		object bool
		n      int
	}
	var st []level
	for {
		t, err := d.Token()
		if err != nil {
			break
		}
		key := len(st) > 0 && st[len(st)-1].object && st[len(st)-1].n%2 == 0
		if dl, ok := t.(json.Delim); !ok || dl == '{' || dl == '[' {
			if len(st) > 0 {
				st[len(st)-1].n++
			}
		}
		switch v := t.(type) {
		case json.Delim:
			out = append(out, v.String())
			if v == '{' || v == '[' {
				st = append(st, level{object: v == '{'})
			} else {
				st = st[:len(st)-1]
			}
		case string:
			p := "s"
			if key {
				p = "k"
			}
			out = append(out, p+hex.EncodeToString([]byte(v)))
		case json.Number:
			out = append(out, "n"+hex.EncodeToString([]byte(v)))
		case bool:
			out = append(out, map[bool]string{true: "t", false: "f"}[v])
		case nil:
			out = append(out, "z")
		}
	}
	return strings.Join(out, ",")
}

var rnd = rand.New(rand.NewSource(1))

func pick(s ...string) string { return s[rnd.Intn(len(s))] }

func str() string {
	var b strings.Builder
	b.WriteByte('"')
	for range rnd.Intn(6) {
		b.WriteString(pick("a", "Zz9", " ", "\\n", "\\\"", "\\\\", "\\/", "\\b\\f\\r\\t", "\\u0041", "\\u00e9", "\\u20AC", "\\ud83d\\ude00",
			"\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\u0041", "\\ud83d\\ud83d\\ude00", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff", "\xc3",
			"\xe2\x82", "\xf0\x9f", "\xed\xa0\x80", "\xc0\x80", "\xf5", "\x7f", "\\u0000", "<&>", "\xf0\x9f\xc3\xa9", "\\ud83d\\n", "\\ud83d\xff"))
	}
	b.WriteByte('"')
	return b.String()
}

func ws() string { return pick("", "", "", " ", "\n\t", "\r ") }

func value(depth int) string {
	n := 8
	if depth <= 0 {
		n = 6
	}
	switch rnd.Intn(n) {
	case 0:
		return pick("true", "false", "null")
	case 1, 2:
		return pick("0", "-0", "1", "-12", "9007199254740993", "18446744073709551615", "1.5", "-0.25", "1e3", "2E+5", "3.25e-2", "9223372036854775807")
	case 3, 4, 5:
		return str()
	case 6:
		var p []string
		for range rnd.Intn(4) {
			p = append(p, ws()+value(depth-1)+ws())
		}
		return "[" + ws() + strings.Join(p, ",") + "]"
	default:
		var p []string
		for range rnd.Intn(4) {
			p = append(p, ws()+str()+ws()+":"+ws()+value(depth-1)+ws())
		}
		return "{" + ws() + strings.Join(p, ",") + "}"
	}
}

func main() {
	f, err := os.Create("../vectors/json_tokens.txt")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, "# Made by tests/interop/mkvectors/json from Go's encoding/json, 2026-11-23. SPDX-License-Identifier: MIT")
	fmt.Fprintln(f, "# <hex of document> ok <tokens> | <hex of document> bad -")
	seen := map[string]bool{}
	put := func(doc string) {
		if doc == "" || seen[doc] {
			return
		}
		seen[doc] = true
		if json.Valid([]byte(doc)) {
			fmt.Fprintf(f, "%x ok %s\n", doc, tokens([]byte(doc)))
		} else {
			fmt.Fprintf(f, "%x bad -\n", doc)
		}
	}
	for _, d := range []string{"{}", "[]", "[1,]", "[,1]", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\":}", "{a:1}", "{1:2}", "01", "-", "-01", "1.", ".5", "1e", "1e+",
		"+1", "0x1", "1 2", "[1 2]", "{}{}", "[}", "{]", "[", "{", "]", "}", "\"", "\"\\", "\"\\u12", "\"\\u12g4\"", "\"\\x\"", "\"\n\"", "\"\t\"", "\"\x00\"", "tru", "truE",
		"nulll", "nul", "NaN", "Infinity", "-Infinity", "'a'", "// c\n1", "\xef\xbb\xbf1", "[1]]", "[[[[1]]]]", " 1 ", "1\n", "-0", "1E5", "\"a\" x", "\v1", "\f1", "1\x00",
		"[true,false,null]", "[truefalse]", "{\"a\":1 \"b\":2}", "{\"a\":1:2}", "[1:2]", "{\"a\",1}", "{\"a\":{\"b\":[{}]}}", strings.Repeat("[", 60) + strings.Repeat("]", 60)} {
		put(d)
	}
	for range 400 {
		d := ws() + value(4) + ws()
		put(d)
		// One byte less, more or different: mostly invalid, sometimes not.
		i := rnd.Intn(len(d))
		switch rnd.Intn(3) {
		case 0:
			put(d[:i] + d[i+1:])
		case 1:
			put(d[:i] + pick(",", "]", "}", "\"", "0", ":", "\\", "e", "\x01") + d[i:])
		default:
			put(d[:i] + pick(",", "[", "{", "\"", "-", ".", "x") + d[i+1:])
		}
	}
	f.Close()

	f, err = os.Create("../vectors/json_times.txt")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, "# Made by tests/interop/mkvectors/json from Go's time.Time.UnmarshalJSON, 2026-11-23. SPDX-License-Identifier: MIT")
	fmt.Fprintln(f, "# <text> <milliseconds since 1970, or bad>")
	times := []string{"0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "1970-01-01T00:00:00Z", "2024-02-29T23:59:59.999999999Z", "2023-02-29T00:00:00Z",
		"2026-11-23T14:00:00.1Z", "2026-11-23T14:00:00.12+05:30", "2026-11-23T14:00:00.123456-08:00", "2026-11-23t14:00:00Z", "2026-11-23T14:00:00z",
		"2026-11-23T4:00:00Z", "2026-11-23T14:00:00,5Z", "2026-11-23T14:00:00.Z", "2026-11-23T14:00:00", "2026-11-23T14:00:60Z", "2026-11-23T24:00:00Z",
		"2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+23:59",
		"2026-01-01T00:00:00+00:60", "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+0000", "2026-01-01T00:00:00.1234567891234Z", "9999-12-31T23:59:59Z",
		"0000-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "26-01-01T00:00:00Z", "2026-01-01T00:00:00ZZ", "2026-01-01"}
	for range 150 {
		t := time.Unix(rnd.Int63n(253402300799+62135596800)-62135596800, rnd.Int63n(1e9)).In(time.FixedZone("", 60*(rnd.Intn(2*1439)-1439)))
		times = append(times, t.Format(pick(time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000Z07:00")))
	}
	// Go also takes an hour of one digit and a comma; RFC 3339 does not, and no server writes them.
	strict := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
	for _, s := range times {
		var t time.Time
		if !strict.MatchString(s) || t.UnmarshalJSON([]byte("\""+s+"\"")) != nil {
			fmt.Fprintf(f, "%s bad\n", s)
		} else {
			fmt.Fprintf(f, "%s %d\n", s, t.UnixMilli())
		}
	}
	f.Close()

	f, err = os.Create("../vectors/json_strings.txt")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, "# Made by tests/interop/mkvectors/json from Go's json.Marshal, 2026-11-23. SPDX-License-Identifier: MIT")
	fmt.Fprintln(f, "# <hex of text> <hex of its JSON>")
	for i := range 300 {
		s := string([]byte{byte(i)})
		if i >= 256 {
			var b strings.Builder
			for range rnd.Intn(8) + 1 {
				b.WriteString(pick("a", "\"", "\\", "\n", "\u2028", "\u2029", "\u20ac", "\xff", "\xe2\x80", "<", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xc0\xaf"))
			}
			s = b.String()
		}
		j, _ := json.Marshal(s)
		fmt.Fprintf(f, "%x %x\n", s, j)
	}
	f.Close()
}
