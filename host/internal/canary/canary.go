// Package canary finds the secrets of tests where they must not be. All secrets of the
// stories have one word in them: whatever a host leaves behind or says can be searched
// for it.
package canary

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Word is in every secret of the stories, and nowhere else.
const Word = "cAnArYbIrD7f3a91"

// Secret returns a secret. What it has besides the word has to be escaped in most
// places.
func Secret(name string) string { return Word + `"/+ &<é-` + name }

const (
	mostDeep     = 3        // packed things in packed things
	mostUnpacked = 64 << 20 // of one, bytes
	around       = 60       // bytes that are shown before and behind what is found
)

// form is one of the ways in which the word can be written.
type form struct {
	name    string
	pattern []byte
}

// forms returns the ways that hide the word from a search for it. Base64 has three,
// by where in the text the word begins; the first and the last letters depend on what
// is beside it.
func forms() []form {
	all := []form{
		{"as it is", []byte(Word)},
		{"in hex", []byte(hex.EncodeToString([]byte(Word)))},
		{"in hex", []byte(strings.ToUpper(hex.EncodeToString([]byte(Word))))},
	}
	for shift := range 3 {
		text := strings.Repeat("x", shift) + Word
		text = text[:len(text)/3*3]
		encoded := base64.StdEncoding.EncodeToString([]byte(text))
		if shift > 0 {
			encoded = encoded[4:]
		}
		all = append(all, form{"in base64", []byte(encoded)})
	}
	return all
}

// Find returns an error that says how and where the word stands in data, or in what is
// packed there.
func Find(data []byte) error { return find(data, forms(), mostDeep) }

func find(data []byte, forms []form, deep int) error {
	for _, view := range views(data) {
		for _, f := range forms {
			if at := bytes.Index(view, f.pattern); at >= 0 {
				return fmt.Errorf("a secret, %s: …%q…", f.name, view[max(0, at-around):min(len(view), at+around)])
			}
		}
	}
	if deep == 0 {
		return nil
	}
	for rest := data; ; {
		at := bytes.Index(rest, []byte{0x1f, 0x8b, 8}) // how gzip begins
		if at < 0 {
			return nil
		}
		if err := find(unpack(rest[at:]), forms, deep-1); err != nil {
			return fmt.Errorf("packed: %w", err)
		}
		rest = rest[at+1:]
	}
}

// unpack returns what can be read of something that gzip has packed.
func unpack(data []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	content, _ := io.ReadAll(io.LimitReader(r, mostUnpacked)) // what there is before a fault
	return content
}

var (
	percent = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	unicode = regexp.MustCompile(`\\u00[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}`)
)

// views returns data as it is, and without the escapes of addresses and of JSON where
// there are some.
func views(data []byte) [][]byte {
	all := [][]byte{data}
	for _, escape := range []*regexp.Regexp{percent, unicode} {
		if plain := escape.ReplaceAllFunc(data, unescape); !bytes.Equal(plain, data) {
			all = append(all, plain)
		}
	}
	return all
}

// unescape returns the byte that the last two digits of an escape name.
func unescape(escape []byte) []byte {
	n, err := strconv.ParseUint(string(escape[len(escape)-2:]), 16, 8)
	if err != nil {
		return escape
	}
	return []byte{byte(n)}
}
