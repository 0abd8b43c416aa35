package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFileBytes bounds a configuration file, so that a wrong path cannot fill
// the memory.
const maxFileBytes = 16 << 20

// Load returns the defaults, overridden by the file at path, overridden by the
// variables of env (NAME=value, as os.Environ gives them) that are called
// HEIMDALL_<SECTION>_<KEY>. An empty path means no file. What Load returns is
// valid; else the error joins all faults that were found, each with file, line
// and key.
func Load(path string, env []string) (*Config, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	lines, deep := locate(text)
	if deep > 0 {
		return nil, fault{file: path, line: deep, text: fmt.Sprintf("this nests deeper than %d levels; make it flatter", maxDepth)}
	}
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, syntax(path, text, err)
	}

	c, variables, found := Default(), environment(env), newFaults(path, lines)
	d := decoder{faults: found, lookup: variables.lookup}
	d.config(tree, c)
	variables.override(c, found)
	c.check(found)
	if err := found.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// read returns the text of a file, without a byte order mark.
func read(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	if len(text) > maxFileBytes {
		return "", fault{file: path, text: fmt.Sprintf("this is larger than %d MiB, which no configuration is", maxFileBytes>>20)}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if valid := bytes.ToValidUTF8(text, nil); len(valid) < len(text) {
		line := 1
		for len(valid) > 0 && valid[0] == text[0] {
			if text[0] == '\n' {
				line++
			}
			valid, text = valid[1:], text[1:]
		}
		return "", fault{file: path, line: line, text: "this is not UTF-8 text"}
	}
	return string(text), nil
}

// syntax gives an error of the TOML parser the shape of ours. The parser stops
// at the first, so it is the only one.
func syntax(path, text string, err error) error {
	e, ok := errors.AsType[toml.ParseError](err)
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	before := text[:max(0, min(e.Position.Start, len(text)))] // its line is off by one at the end of the file
	return fault{
		file: path,
		line: 1 + strings.Count(before, "\n"),
		key:  e.LastKey,
		text: "this is not TOML: " + strings.TrimSuffix(e.Message, "."),
	}
}
