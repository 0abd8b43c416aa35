package sdk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// columnType is the parsed type of a column.
type columnType struct {
	name     string      // as written
	base     string      // without parameters
	bits     int         // of integers
	unsigned bool        // of integers
	scale    int         // of decimals
	elem     *columnType // of lists
}

func parseType(name string) (columnType, error) {
	c := columnType{name: name, base: name}
	switch name {
	case "bool", "float32", "float64", "string", "bytes", "date", "time", "timestamp", "timestamptz", "interval", "uuid", "json", "null":
		return c, nil
	case "int8", "int16", "int32", "int64":
		c.bits, _ = strconv.Atoi(name[len("int"):])
		return c, nil
	case "uint8", "uint16", "uint32", "uint64":
		c.bits, _ = strconv.Atoi(name[len("uint"):])
		c.unsigned = true
		return c, nil
	}

	if inner, ok := inside(name, "decimal(", ")"); ok {
		precision, scale, ok := strings.Cut(inner, ",")
		p, perr := strconv.Atoi(strings.TrimSpace(precision))
		s, serr := strconv.Atoi(strings.TrimSpace(scale))
		if ok && perr == nil && serr == nil && p > 0 && s >= 0 && s <= p {
			c.base, c.scale = "decimal", s
			return c, nil
		}
	}
	if inner, ok := inside(name, "list<", ">"); ok {
		elem, err := parseType(inner)
		c.base, c.elem = "list", &elem
		return c, err
	}
	for _, base := range []string{"map", "struct"} {
		if _, ok := inside(name, base+"<", ">"); ok {
			c.base = base
			return c, nil
		}
	}
	return c, fmt.Errorf("there is no type %q; see sdk.Column for those that are", name)
}

func inside(text, head, tail string) (string, bool) {
	if !strings.HasPrefix(text, head) || !strings.HasSuffix(text, tail) {
		return "", false
	}
	return text[len(head) : len(text)-len(tail)], true
}

// appendJSON writes any value in its own way, on one line.
func appendJSON(out []byte, value any) ([]byte, error) {
	var text []byte
	switch v := value.(type) {
	case json.RawMessage:
		text = v
	case []byte:
		text = v
	case string:
		text = []byte(v)
	default:
		var err error
		if text, err = json.Marshal(v); err != nil {
			return out, err
		}
		return append(out, text...), nil
	}
	if text == nil {
		return append(out, "null"...), nil
	}

	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return out, fmt.Errorf("not JSON: %w", err)
	}
	return append(out, compact.Bytes()...), nil
}

const hexDigits = "0123456789abcdef"

// appendString writes text as a JSON string. Bytes that are no UTF-8 become the
// replacement character.
func appendString(out []byte, text string) []byte {
	out = append(out, '"')
	plain := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			out = appendEscape(append(out, text[plain:i]...), c)
			i++
			plain = i
			continue
		}

		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			out = append(append(out, text[plain:i]...), "\uFFFD"...)
			plain = i + 1
		}
		i += size
	}
	return append(append(out, text[plain:]...), '"')
}

func appendEscape(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\n':
		return append(out, '\\', 'n')
	case '\r':
		return append(out, '\\', 'r')
	case '\t':
		return append(out, '\\', 't')
	default:
		return append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// appendUUID writes sixteen bytes in the usual form.
func appendUUID(out []byte, value reflect.Value) []byte {
	var id [16]byte
	for i := range id {
		id[i] = byte(value.Index(i).Uint())
	}
	out = append(out, '"')
	for i, from := range []int{0, 4, 6, 8, 10} {
		to := []int{4, 6, 8, 10, 16}[i]
		if i > 0 {
			out = append(out, '-')
		}
		out = hex.AppendEncode(out, id[from:to])
	}
	return append(out, '"')
}

// clip bounds text that goes over the wire, where it must be UTF-8.
func clip(text string, size int) string {
	if len(text) > size {
		text = text[:size] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
