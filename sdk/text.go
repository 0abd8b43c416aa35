package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unsafe"
)

// AppendText is Append for values that came as text, as databases hand them over:
// numbers, times and the like as Append takes them as strings, true and false also as
// t and f, json and lists as JSON, and of bytes the bytes themselves. A nil is null.
// The values may be used again when it returns.
func (t *Table) AppendText(values ...[]byte) error {
	if t.err != nil {
		return t.err
	}
	if len(values) != len(t.types) {
		return t.wrongCount(len(values))
	}
	row := t.begin()
	for i, value := range values {
		if i > 0 {
			row = append(row, ',')
		}
		if value == nil {
			row = append(row, "null"...)
			continue
		}
		var err error
		if row, err = t.types[i].appendText(row, value); err != nil {
			return t.wrongValue(i, err)
		}
	}
	return t.end(row)
}

// appendText writes a value that came as text as JSON of the column's type.
func (c *columnType) appendText(out, value []byte) ([]byte, error) {
	// What is called below neither keeps nor changes it.
	text := unsafe.String(unsafe.SliceData(value), len(value))
	switch {
	case c.unsigned, c.bits != 0:
		return c.text(out, text)
	}
	switch c.base {
	case "bool":
		return c.textBool(out, text)
	case "float32", "float64":
		return c.textFloat(out, text)
	case "decimal":
		if !isDecimal(text) {
			return out, fmt.Errorf("%q is no %s", text, c.name)
		}
		return append(append(append(out, '"'), value...), '"'), nil
	case "bytes":
		return appendBase64(out, value), nil
	case "json", "list", "map", "struct":
		return appendCompact(out, value)
	case "null":
		return out, c.mismatch(text)
	}
	return appendString(out, text), nil
}

func (c *columnType) textBool(out []byte, text string) ([]byte, error) {
	switch text {
	case "t", "true":
		return append(out, "true"...), nil
	case "f", "false":
		return append(out, "false"...), nil
	}
	return out, fmt.Errorf("%q is no %s", text, c.name)
}

func (c *columnType) textFloat(out []byte, text string) ([]byte, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(n, 0) {
		return out, fmt.Errorf("%q is no %s", text, c.name)
	}
	if isDecimal(text) && len(text) < 32 && text[0] != '+' && !math.IsInf(n, 0) {
		return append(out, text...), nil // as it came: the shortest
	}
	return appendFloat(out, n, 64), nil
}

// isDecimal reports whether a text is a number as JSON has it.
func isDecimal(text string) bool {
	i := 0
	digits := func() (n int) {
		for ; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
			n++
		}
		return n
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	first := i
	if n := digits(); n == 0 || n > 1 && text[first] == '0' {
		return false
	}
	if i < len(text) && text[i] == '.' {
		if i++; digits() == 0 {
			return false
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if digits() == 0 {
			return false
		}
	}
	return i == len(text)
}

// appendCompact writes JSON on one line.
func appendCompact(out, value []byte) ([]byte, error) {
	compact := bytes.NewBuffer(out)
	if err := json.Compact(compact, value); err != nil {
		return out, fmt.Errorf("not JSON: %w", err)
	}
	return compact.Bytes(), nil
}
