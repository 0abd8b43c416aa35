package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/heimdall-run/heimdall/sdk"
)

// form changes the text of a value from that of the server to that of sdk.Table, in
// place where it can.
type form func(value []byte) ([]byte, error)

// Numbers of types (pg_type.dat).
const (
	oidBytea, oidJSON, oidJSONB, oidNumeric = 17, 114, 3802, 1700
)

// kind is a type of the server's as results have it.
type kind struct {
	name  string
	array uint32 // the number of its array type
	form  form   // nil: its text is as it should be
}

// kinds are the types that are more than text.
var kinds = map[uint32]kind{
	16:       {"bool", 1000, nil},
	oidBytea: {"bytes", 1001, fromHex},
	20:       {"int64", 1016, nil}, 21: {"int16", 1005, nil}, 23: {"int32", 1007, nil}, 26: {"uint32", 1028, nil},
	25: {"string", 1009, nil}, 19: {"string", 1003, nil}, 1042: {"string", 1014, nil}, 1043: {"string", 1015, nil},
	700: {"float32", 1021, nil}, 701: {"float64", 1022, nil},
	oidJSON: {"json", 199, nil}, oidJSONB: {"json", 3807, nil},
	1082: {"date", 1182, date}, 1083: {"time", 1183, nil}, 1186: {"interval", 1187, nil},
	1114: {"timestamp", 1115, timestamp}, 1184: {"timestamptz", 1185, timestamptz},
	oidNumeric: {"decimal", 1231, decimal}, 2950: {"uuid", 2951, nil},
}

// columnOf returns the column of a field, and how its values are changed.
func columnOf(f pgconn.FieldDescription) (sdk.Column, form) {
	if k, ok := kinds[f.DataTypeOID]; ok {
		name, change := k.of(f.TypeModifier)
		if f.Format == binary {
			change = nil // the bytes themselves
		}
		return sdk.Column{Name: f.Name, Type: name}, change
	}
	for _, k := range kinds {
		if k.array == f.DataTypeOID {
			name, change := k.of(f.TypeModifier)
			return sdk.Column{Name: f.Name, Type: "list<" + name + ">"}, array(name, change)
		}
	}
	return sdk.Column{Name: f.Name, Type: "string"}, nil
}

// Formats of values.
const (
	text   = int16(0)
	binary = int16(1)
)

// formatOf returns the format that values of a type are asked for in: the text is what
// the server makes faster than we could, but of bytes.
func formatOf(kind uint32) int16 {
	if kind == oidBytea {
		return binary
	}
	return text
}

// of returns the type with a modifier.
func (k kind) of(modifier int32) (string, form) {
	if k.name != "decimal" {
		return k.name, k.form
	}
	precision, scale := int(modifier-4)>>16&0xffff, int(modifier-4)&0x7ff
	if scale >= 1024 {
		scale -= 2048 // since version 15 it may be negative
	}
	switch {
	case modifier < 4:
		return "string", nil // any precision: no decimal(p,s) holds it, its text does
	case scale < 0:
		return fmt.Sprintf("decimal(%d,0)", precision-scale), k.form
	case scale > precision:
		return fmt.Sprintf("decimal(%d,%d)", scale, scale), k.form
	}
	return fmt.Sprintf("decimal(%d,%d)", precision, scale), k.form
}

var errRange = errors.New("cannot be told in a result of its type; cast it to text")

func decimal(value []byte) ([]byte, error) {
	if c := value[len(value)-1]; c < '0' || c > '9' {
		return nil, fmt.Errorf("%s %w", value, errRange) // NaN, Infinity
	}
	return value, nil
}

// date is of the years 1 to 9999.
func date(value []byte) ([]byte, error) {
	if len(value) != len("2006-01-02") || value[4] != '-' {
		return nil, fmt.Errorf("%.40s %w", value, errRange)
	}
	return value, nil
}

// timestamp makes 2006-01-02 15:04:05.999 RFC 3339, in UTC.
func timestamp(value []byte) ([]byte, error) {
	if err := dated(value); err != nil {
		return nil, err
	}
	return append(value, 'Z'), nil
}

// timestamptz makes 2006-01-02 15:04:05.999+00 RFC 3339.
func timestamptz(value []byte) ([]byte, error) {
	if err := dated(value); err != nil {
		return nil, err
	}
	at := bytes.LastIndexAny(value, "+-")
	switch zone := value[at:]; {
	case at < len("2006-01-02T15:04:05"):
		return nil, fmt.Errorf("%.40s %w", value, errRange)
	case string(zone) == "+00":
		return append(value[:at], 'Z'), nil
	case len(zone) == len("+05"):
		return append(value[:len(value):len(value)], ":00"...), nil
	case len(zone) == len("+05:30"):
		return value, nil
	}
	return nil, fmt.Errorf("%.40s %w", value, errRange)
}

// dated checks the date of a timestamp, and writes T behind it.
func dated(value []byte) error {
	const day = len("2006-01-02")
	if len(value) < len("2006-01-02 15:04:05") || value[4] != '-' || value[day] != ' ' || bytes.HasSuffix(value, []byte(" BC")) {
		return fmt.Errorf("%.40s %w", value, errRange) // infinity, or no year of four digits
	}
	value[day] = 'T'
	return nil
}

// fromHex reads bytes as the server writes them: \x00ff.
func fromHex(value []byte) ([]byte, error) {
	if !bytes.HasPrefix(value, []byte(`\x`)) {
		return nil, errors.New("these bytes are not in hexadecimal; leave bytea_output as it is")
	}
	n, err := hex.Decode(value, value[2:]) // what is written was read before
	return value[:n], err
}
