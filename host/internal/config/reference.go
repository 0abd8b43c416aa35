package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// piece is a part of a string: text, or a reference to a variable or a file.
type piece struct {
	text     string // as it reads; of a reference, as it is written
	variable string
	file     string
}

// split takes a string apart: ${NAME} and ${env:NAME} are a variable,
// ${file:path} is a file, $$ is a dollar. Any other dollar is itself.
func split(s string) ([]piece, error) {
	var pieces []piece
	for s != "" {
		i := strings.IndexByte(s, '$')
		switch {
		case i < 0:
			return append(pieces, piece{text: s}), nil
		case i > 0:
			pieces = append(pieces, piece{text: s[:i]})
			s = s[i:]
		case strings.HasPrefix(s, "$$"):
			pieces = append(pieces, piece{text: "$"})
			s = s[2:]
		case strings.HasPrefix(s, "${"):
			name, rest, closed := strings.Cut(s[2:], "}")
			if !closed {
				return nil, errors.New("a reference that begins with ${ has no }; write $$ for a dollar")
			}
			p := piece{text: s[:len(s)-len(rest)]}
			if path, ok := strings.CutPrefix(name, "file:"); ok {
				p.file = path
			} else {
				p.variable = strings.TrimPrefix(name, "env:")
			}
			if p.file == "" && !variableName.MatchString(p.variable) {
				return nil, fmt.Errorf("%s is not a reference; write ${NAME}, ${env:NAME} or ${file:path}, or $$ for a dollar", p.text)
			}
			pieces = append(pieces, p)
			s = rest
		default:
			pieces = append(pieces, piece{text: "$"})
			s = s[1:]
		}
	}
	return pieces, nil
}

func (p piece) reference() bool { return p.variable != "" || p.file != "" }

// expand puts variables into a string outside a context.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	pieces, err := split(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range pieces {
		switch {
		case p.file != "":
			return "", fmt.Errorf("%s is for contexts only; here write ${NAME}, or $$ for a dollar", p.text)
		case p.variable != "":
			value, ok := lookup(p.variable)
			if !ok {
				return "", fmt.Errorf("the environment has no %s; set it, or write $$ for a dollar", p.variable)
			}
			b.WriteString(value)
		default:
			b.WriteString(p.text)
		}
	}
	return b.String(), nil
}

// Resolve looks up the references in the strings of a context. A string that
// has one is taken out of the document (in a list, null keeps its place) and
// returned as a secret under its JSON pointer. One newline at the end of a file
// is cut. In other strings $$ becomes a dollar. An error names, on one line,
// every reference that cannot be resolved, and no value.
func Resolve(
	raw json.RawMessage,
	getenv func(name string) (string, bool),
	readFile func(path string) ([]byte, error),
) (resolved json.RawMessage, secrets map[string][]byte, err error) {
	if !bytes.ContainsRune(raw, '$') && !bytes.Contains(raw, []byte(`\u0024`)) {
		return raw, nil, nil
	}
	decode := json.NewDecoder(bytes.NewReader(raw))
	decode.UseNumber()
	var document any
	if err := decode.Decode(&document); err != nil {
		return nil, nil, fmt.Errorf("read a context: %w", err)
	}
	r := resolver{getenv: getenv, readFile: readFile, secrets: make(map[string][]byte)}
	document, _ = r.value("", document)
	if err := oneLine(r.faults); err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	encode := json.NewEncoder(&b)
	encode.SetEscapeHTML(false)
	if err := encode.Encode(document); err != nil {
		return nil, nil, fmt.Errorf("write a context: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), r.secrets, nil
}

// oneLine joins errors like errors.Join, but on one line.
func oneLine(all []error) (err error) {
	for _, e := range all {
		if err == nil {
			err = e
		} else {
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	return err
}

type resolver struct {
	getenv   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	secrets  map[string][]byte
	faults   []error
}

// value returns what a value is without its secrets, and whether it is one
// itself.
func (r *resolver) value(pointer string, value any) (plain any, secret bool) {
	switch v := value.(type) {
	case string:
		return r.text(pointer, v)
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if plain, secret := r.value(pointer+"/"+token(name), v[name]); secret {
				delete(v, name)
			} else {
				v[name] = plain
			}
		}
	case []any:
		for i, of := range v {
			v[i], _ = r.value(pointer+"/"+strconv.Itoa(i), of)
		}
	}
	return value, false
}

func (r *resolver) text(pointer, s string) (plain any, secret bool) {
	pieces, err := split(s)
	if err != nil {
		r.faults = append(r.faults, fmt.Errorf("%s: %w", pointer, err))
		return nil, false
	}
	var value []byte
	for _, p := range pieces {
		switch {
		case p.file != "":
			content, err := r.readFile(p.file)
			if err != nil {
				r.faults = append(r.faults, fmt.Errorf("%s: %s: %w", pointer, p.text, err))
			}
			content = bytes.TrimSuffix(content, []byte("\n"))
			value = append(value, bytes.TrimSuffix(content, []byte("\r"))...)
		case p.variable != "":
			content, ok := r.getenv(p.variable)
			if !ok {
				r.faults = append(r.faults, fmt.Errorf("%s: %s: the host's environment has no %s", pointer, p.text, p.variable))
			}
			value = append(value, content...)
		default:
			value = append(value, p.text...)
		}
	}
	if !slices.ContainsFunc(pieces, piece.reference) {
		return string(value), false
	}
	r.secrets[pointer] = value
	return nil, true
}

// token writes a name as a part of a JSON pointer (RFC 6901).
func token(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
