package main

import (
	"regexp"
	"strconv"
	"strings"
)

// column is a column of a result.
type column struct {
	name, typ string
	kind      kind
}

// kind is how values of a type look in JSON. Null is a value of every type.
type kind struct {
	family family
	bits   int // of integers
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
	"int8": {ints, 8}, "int16": {ints, 16}, "int32": {ints, 32}, "int64": {ints, 64},
	"uint8": {uints, 8}, "uint16": {uints, 16}, "uint32": {uints, 32}, "uint64": {uints, 64},
	"float32": {family: floats}, "float64": {family: floats},
	"string": {}, "bytes": {}, "date": {}, "time": {}, "timestamp": {}, "timestamptz": {}, "interval": {}, "uuid": {},
	"json": {family: anything}, "null": {family: nothing},
}

var (
	decimal = regexp.MustCompile(`^decimal\([1-9][0-9]*, ?[0-9]+\)$`)
	number  = regexp.MustCompile(`^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)
)

// kindOf returns the kind of a type and whether there is such a type.
func kindOf(typ string) (kind, bool) {
	if k, ok := plainKinds[typ]; ok {
		return k, true
	}
	switch name, inner, _ := strings.Cut(typ, "<"); {
	case decimal.MatchString(typ):
		return kind{family: decimals}, true
	case !strings.HasSuffix(inner, ">") || inner == ">":
		return kind{}, false
	case name == "list":
		_, ok := kindOf(strings.TrimSuffix(inner, ">"))
		return kind{family: lists}, ok
	case name == "map", name == "struct":
		return kind{family: objects}, true
	}
	return kind{}, false
}

// accepts says whether a JSON value can stand in the column.
func (c *column) accepts(value []byte) bool {
	if c.kind.family == anything || string(value) == "null" {
		return true
	}
	first := value[0]
	switch c.kind.family {
	case texts:
		return first == '"'
	case bools:
		return first == 't' || first == 'f'
	case ints:
		_, err := strconv.ParseInt(bare(value), 10, c.kind.bits)
		return err == nil
	case uints:
		_, err := strconv.ParseUint(bare(value), 10, c.kind.bits)
		return err == nil
	case floats:
		_, err := strconv.ParseFloat(bare(value), 64)
		return err == nil
	case decimals:
		return number.MatchString(bare(value))
	case lists:
		return first == '['
	case objects:
		return first == '{' || first == '['
	}
	return false
}

// bare is a number without the quotes that it may have.
func bare(value []byte) string {
	if len(value) > 1 && value[0] == '"' {
		value = value[1 : len(value)-1]
	}
	return string(value)
}
