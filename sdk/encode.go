package sdk

import (
	"database/sql/driver"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"time"
)

// maxSafe is the largest integer that every JSON reader keeps exactly.
const maxSafe = 1 << 53

// append writes a value as JSON of the column's type.
func (c columnType) append(out []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(out, "null"...), nil
	case driver.Valuer:
		if reflect.ValueOf(v).Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
			return append(out, "null"...), nil
		}
		inner, err := v.Value()
		if err != nil {
			return out, err
		}
		return c.append(out, inner)
	}
	if c.base == "json" {
		return appendJSON(out, value)
	}

	switch v := value.(type) {
	case string:
		return c.text(out, v)
	case []byte:
		return c.bytes(out, v)
	case bool:
		if c.base == "bool" {
			return strconv.AppendBool(out, v), nil
		}
		return out, c.mismatch(value)
	case time.Time:
		return c.time(out, v)
	case time.Duration:
		if c.base == "interval" {
			return appendString(out, v.String()), nil
		}
	case json.Number:
		return c.text(out, v.String())
	case *big.Int:
		return c.text(out, v.String())
	case *big.Rat:
		if c.base == "decimal" {
			return appendString(out, v.FloatString(c.scale)), nil
		}
	}
	return c.reflect(out, reflect.ValueOf(value))
}

func (c columnType) reflect(out []byte, value reflect.Value) ([]byte, error) {
	switch kind := value.Kind(); {
	case kind == reflect.Pointer && value.IsNil():
		return append(out, "null"...), nil
	case value.CanInt():
		return c.int(out, value.Int())
	case value.CanUint():
		return c.uint(out, value.Uint())
	case value.CanFloat():
		bits := 64
		if kind == reflect.Float32 {
			bits = 32
		}
		return c.float(out, value.Float(), bits)
	case kind == reflect.String:
		return c.text(out, value.String())
	case kind == reflect.Bool:
		return c.append(out, value.Bool())
	case kind == reflect.Array && c.base == "uuid" && value.Len() == 16 && value.Type().Elem().Kind() == reflect.Uint8:
		return appendUUID(out, value), nil
	}

	switch v := value.Interface().(type) {
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return out, err
		}
		return c.text(out, string(text))
	case fmt.Stringer:
		if c.base == "decimal" || c.base == "uuid" || c.base == "interval" {
			return c.text(out, v.String())
		}
	}
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		return c.append(out, value.Elem().Interface())
	case reflect.Slice, reflect.Array:
		return c.list(out, value)
	case reflect.Map, reflect.Struct:
		if c.base == "map" || c.base == "struct" {
			return appendJSON(out, value.Interface())
		}
	}
	return out, c.mismatch(value.Interface())
}

func (c columnType) int(out []byte, v int64) ([]byte, error) {
	switch {
	case c.base == "float64" || c.base == "float32":
		return c.float(out, float64(v), 64)
	case c.base == "decimal":
		return append(strconv.AppendInt(append(out, '"'), v, 10), '"'), nil
	case c.bits == 0:
		return out, c.mismatch(v)
	case c.unsigned && v < 0, !c.unsigned && (v < -1<<(c.bits-1) || v > 1<<(c.bits-1)-1):
		return out, fmt.Errorf("%d does not fit into %s", v, c.name)
	case c.unsigned:
		return c.uint(out, uint64(v))
	case v > maxSafe || v < -maxSafe:
		return append(strconv.AppendInt(append(out, '"'), v, 10), '"'), nil
	default:
		return strconv.AppendInt(out, v, 10), nil
	}
}

func (c columnType) uint(out []byte, v uint64) ([]byte, error) {
	if !c.unsigned {
		if v > math.MaxInt64 && c.base != "decimal" && c.base != "float64" && c.base != "float32" {
			return out, fmt.Errorf("%d does not fit into %s", v, c.name)
		}
		if v <= math.MaxInt64 {
			return c.int(out, int64(v))
		}
		if c.base != "decimal" {
			return c.float(out, float64(v), 64)
		}
	}

	switch {
	case c.unsigned && c.bits < 64 && v >= 1<<c.bits:
		return out, fmt.Errorf("%d does not fit into %s", v, c.name)
	case v > maxSafe || c.base == "decimal":
		return append(strconv.AppendUint(append(out, '"'), v, 10), '"'), nil
	default:
		return strconv.AppendUint(out, v, 10), nil
	}
}

func (c columnType) float(out []byte, v float64, bits int) ([]byte, error) {
	switch c.base {
	case "decimal":
		return append(strconv.AppendFloat(append(out, '"'), v, 'f', c.scale, bits), '"'), nil
	case "float32":
		bits = 32
	case "float64":
	default:
		return out, c.mismatch(v)
	}
	return appendFloat(out, v, bits), nil
}

// appendFloat writes what is no number as a string, because JSON has none.
func appendFloat(out []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(strconv.AppendFloat(append(out, '"'), v, 'g', -1, bits), '"')
	}
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(out, v, format, -1, bits)
}

// text writes a value that came as text. Databases hand many types over so.
func (c columnType) text(out []byte, v string) ([]byte, error) {
	switch {
	case c.unsigned:
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return out, fmt.Errorf("%q is no %s", v, c.name)
		}
		return c.uint(out, n)
	case c.bits != 0:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return out, fmt.Errorf("%q is no %s", v, c.name)
		}
		return c.int(out, n)
	}

	switch c.base {
	case "float32", "float64":
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return out, fmt.Errorf("%q is no %s", v, c.name)
		}
		return appendFloat(out, n, 64), nil
	case "decimal":
		if _, ok := new(big.Rat).SetString(v); !ok {
			return out, fmt.Errorf("%q is no %s", v, c.name)
		}
	case "bytes":
		return appendBase64(out, []byte(v)), nil
	case "bool", "list", "map", "struct", "null":
		return out, c.mismatch(v)
	}
	return appendString(out, v), nil
}

func (c columnType) bytes(out []byte, v []byte) ([]byte, error) {
	switch {
	case v == nil:
		return append(out, "null"...), nil
	case c.base == "list":
		return c.list(out, reflect.ValueOf(v))
	case c.base == "uuid" && len(v) == 16:
		return appendUUID(out, reflect.ValueOf(v)), nil
	default:
		return c.text(out, string(v))
	}
}

func (c columnType) time(out []byte, v time.Time) ([]byte, error) {
	layout := ""
	switch c.base {
	case "date":
		layout = time.DateOnly
	case "time":
		layout = "15:04:05.999999999"
	case "timestamp", "timestamptz", "string":
		layout = time.RFC3339Nano
	default:
		return out, c.mismatch(v)
	}
	return append(v.AppendFormat(append(out, '"'), layout), '"'), nil
}

func (c columnType) list(out []byte, value reflect.Value) ([]byte, error) {
	if c.base != "list" {
		return out, c.mismatch(value.Interface())
	}
	if value.Kind() == reflect.Slice && value.IsNil() {
		return append(out, "null"...), nil
	}

	out = append(out, '[')
	for i := range value.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = c.elem.append(out, value.Index(i).Interface()); err != nil {
			return out, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return append(out, ']'), nil
}

func (c columnType) mismatch(value any) error {
	return fmt.Errorf("a Go value of type %T is no %s", value, c.name)
}

func appendBase64(out, v []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(out, '"'), v), '"')
}
