package main

import (
	"bufio"
	"bytes"
	"iter"
	"regexp"
	"strconv"
	"strings"
)

// column is a column of a result.
type column struct {
	name, typ string
	kind
}

// kind is how values of a type look in JSON. Null is a value of every type.
type kind struct {
	family family
	bits   int   // of integers
	elem   *kind // of lists
}

type family int

const (
	texts    family = iota // a string
	bools                  // true or false
	ints                   // a number, or a string of one
	uints                  // the same without a sign
	floats                 // a number, or a string of one, NaN or ±Inf
	decimals               // a number, or a string of one
	lists                  // an array
	objects                // an object; maps may be arrays of pairs
	anything
	nothing // null only
)

var plainKinds = map[string]kind{
	"bool": {family: bools},
	"int8": {family: ints, bits: 8}, "int16": {family: ints, bits: 16}, "int32": {family: ints, bits: 32}, "int64": {family: ints, bits: 64},
	"uint8": {family: uints, bits: 8}, "uint16": {family: uints, bits: 16}, "uint32": {family: uints, bits: 32}, "uint64": {family: uints, bits: 64},
	"float32": {family: floats}, "float64": {family: floats},
	"string": {}, "bytes": {}, "date": {}, "time": {}, "timestamp": {}, "timestamptz": {}, "interval": {}, "uuid": {},
	"json": {family: anything}, "null": {family: nothing},
}

var (
	decimal = regexp.MustCompile(`^decimal\([1-9][0-9]*, ?[0-9]+\)$`)
	number  = regexp.MustCompile(`^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)
)

// maxType bounds the name of a type, bytes: lists may be nested.
const maxType = 4096

// kindOf returns the kind of a type and whether there is such a type.
func kindOf(typ string) (kind, bool) {
	if len(typ) > maxType {
		return kind{}, false
	}
	if k, ok := plainKinds[typ]; ok {
		return k, true
	}
	switch name, inner, _ := strings.Cut(typ, "<"); {
	case decimal.MatchString(typ):
		return kind{family: decimals}, true
	case !strings.HasSuffix(inner, ">") || inner == ">":
		return kind{}, false
	case name == "list":
		elem, ok := kindOf(strings.TrimSuffix(inner, ">"))
		return kind{family: lists, elem: &elem}, ok
	case name == "map", name == "struct":
		return kind{family: objects}, true
	}
	return kind{}, false
}

// accepts says whether a JSON value is one of the kind.
func (k *kind) accepts(value []byte) bool {
	if k.family == anything || string(value) == "null" {
		return true
	}
	first := value[0]
	switch k.family {
	case texts:
		return first == '"'
	case bools:
		return first == 't' || first == 'f'
	case ints:
		_, err := strconv.ParseInt(bare(value), 10, k.bits)
		return err == nil
	case uints:
		_, err := strconv.ParseUint(bare(value), 10, k.bits)
		return err == nil
	case floats:
		_, err := strconv.ParseFloat(bare(value), 64)
		return err == nil
	case decimals:
		return number.MatchString(bare(value))
	case lists:
		if first != '[' {
			return false
		}
		for item := range values(value) {
			if !k.elem.accepts(item) {
				return false
			}
		}
		return true
	case objects:
		return first == '{' || first == '['
	}
	return false
}

// maxSafe is the largest integer that every reader of JSON keeps exactly.
const maxSafe = 1 << 53

// inexact says whether a value that is accepted has a number in it that not
// every reader of JSON keeps as it is. As a string it is safe.
func (k *kind) inexact(value []byte) bool {
	switch first := value[0]; {
	case k.family == lists && first == '[':
		for item := range values(value) {
			if k.elem.inexact(item) {
				return true
			}
		}
		return false
	case first == '"' || first == 'n':
		return false
	case k.family == ints && k.bits == 64:
		n, _ := strconv.ParseInt(string(value), 10, 64)
		return n > maxSafe || n < -maxSafe
	case k.family == uints && k.bits == 64:
		n, _ := strconv.ParseUint(string(value), 10, 64)
		return n > maxSafe
	}
	return k.family == decimals
}

// write writes a value that is accepted, inexact numbers as strings.
func (k *kind) write(out *bufio.Writer, value []byte) {
	switch {
	case k.family == lists && value[0] == '[':
		writeList(out, value, func(_ int, item []byte) { k.elem.write(out, item) })
	case k.inexact(value):
		out.WriteByte('"')
		out.Write(value)
		out.WriteByte('"')
	default:
		out.Write(value)
	}
}

// writeList writes a JSON list; each writes one item.
func writeList(out *bufio.Writer, list []byte, each func(i int, item []byte)) {
	out.WriteByte('[')
	i := 0
	for item := range values(list) {
		if i > 0 {
			out.WriteByte(',')
		}
		each(i, item)
		i++
	}
	out.WriteByte(']')
}

// values yields the items of a JSON list, which must be well-formed.
func values(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth, quoted, begin := 0, false, 1
		for i := 1; i < len(list); i++ {
			switch c := list[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '[' || c == '{':
				depth++
			case depth > 0 && (c == ']' || c == '}'):
				depth--
			case depth == 0 && (c == ',' || c == ']'):
				item := bytes.Trim(list[begin:i], " \t\r\n")
				if len(item) > 0 && !yield(item) { // else the list is empty
					return
				}
				begin = i + 1
			}
		}
	}
}

// bare is a number without the quotes that it may have.
func bare(value []byte) string {
	if len(value) > 1 && value[0] == '"' {
		value = value[1 : len(value)-1]
	}
	return string(value)
}
