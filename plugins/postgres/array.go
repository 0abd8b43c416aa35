package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// array makes an array of the server's, {1,NULL,"a b"}, a list in JSON.
func array(kind string, change form) form {
	return func(value []byte) ([]byte, error) {
		items, err := parseArray(value)
		if err != nil {
			return nil, err
		}
		list := make([]json.RawMessage, len(items))
		for i, item := range items {
			if item == nil {
				list[i] = json.RawMessage("null")
				continue
			}
			if change != nil {
				if item, err = change(item); err != nil {
					return nil, err
				}
			}
			if list[i], err = jsonOf(kind, item); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	}
}

// jsonOf returns an item as JSON.
func jsonOf(kind string, item []byte) (json.RawMessage, error) {
	switch kind {
	case "bool":
		if string(item) == "t" {
			return json.RawMessage("true"), nil
		}
		return json.RawMessage("false"), nil
	case "int16", "int32", "uint32":
		return item, nil
	case "int64":
		if len(item) < len("9007199254740992") {
			return item, nil
		}
	case "float32", "float64":
		if json.Valid(item) {
			return item, nil
		}
		if s := string(item); s == "Infinity" || s == "-Infinity" {
			item = []byte(strings.Replace(strings.Replace(s, "Infinity", "+Inf", 1), "-+", "-", 1))
		}
	case "json":
		return item, nil
	case "bytes":
		return json.Marshal(base64.StdEncoding.EncodeToString(item))
	}
	return json.Marshal(string(item))
}

// parseArray returns the items of an array; one that is null is nil.
func parseArray(value []byte) (items [][]byte, err error) {
	if len(value) > 0 && value[0] == '[' {
		return nil, errors.New("an array that does not begin with 1 cannot be told in a result; cast it to text")
	}
	if len(value) < 2 || value[0] != '{' || value[len(value)-1] != '}' {
		return nil, fmt.Errorf("%.40q is no array", value)
	}
	for rest := value[1 : len(value)-1]; len(rest) > 0; {
		var item []byte
		switch {
		case rest[0] == '{':
			return nil, errors.New("an array of several dimensions cannot be told in a result; cast it to text, or use to_json")
		case rest[0] == '"':
			if item, rest, err = quoted(rest[1:]); err != nil {
				return nil, err
			}
		default:
			end := 0
			for end < len(rest) && rest[end] != ',' {
				end++
			}
			if item, rest = rest[:end:end], rest[end:]; string(item) == "NULL" {
				item = nil
			}
		}
		items = append(items, item)
		if len(rest) > 0 {
			if rest[0] != ',' || len(rest) == 1 {
				return nil, fmt.Errorf("%.40q is no array", value)
			}
			rest = rest[1:]
		}
	}
	return items, nil
}

// quoted returns a text in quotes, behind the first, and what is behind the last.
func quoted(text []byte) (item, rest []byte, err error) {
	item = []byte{} // not null
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return item, text[i+1:], nil
		case '\\':
			if i++; i < len(text) {
				item = append(item, text[i])
			}
		default:
			item = append(item, text[i])
		}
	}
	return nil, nil, errors.New("an array breaks off within a text")
}

// arrayLiteral returns a list of JSON as an array of the server's.
func arrayLiteral(raw json.RawMessage) ([]byte, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		value, err := parameter(item, 0)
		switch {
		case err != nil:
			return nil, err
		case value == nil:
			out = append(out, "NULL"...)
			continue
		case item[0] == '[':
			out = append(out, value...)
			continue
		}
		out = append(out, '"')
		for _, c := range value {
			if c == '"' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		out = append(out, '"')
	}
	return append(out, '}'), nil
}
