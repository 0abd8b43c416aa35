package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Reference returns what a text that is nothing but a reference refers to, such as
// env:NAME or file:/path.
func Reference(text string) (ref string, ok bool) {
	pieces, err := split(text)
	if err != nil || len(pieces) != 1 || !pieces[0].reference() {
		return "", false
	}
	return pieces[0].ref(), true
}

// References returns what a text refers to, in order.
func References(text string) (refs []string) {
	pieces, err := split(text)
	if err != nil {
		return nil
	}
	for _, p := range pieces {
		if p.reference() {
			refs = append(refs, p.ref())
		}
	}
	return refs
}

func (p piece) ref() string {
	if p.file != "" {
		return "file:" + p.file
	}
	return "env:" + p.variable
}

// Allow returns a fault for each reference in a context that the API may not make.
// Of a file that is there, it looks where it really lies.
func (s Secrets) Allow(context json.RawMessage) (faults []errs.Field) {
	decode := json.NewDecoder(bytes.NewReader(context))
	decode.UseNumber()
	var document any
	if err := decode.Decode(&document); err != nil {
		return []errs.Field{{Pointer: "/context", Detail: "this is not JSON"}}
	}
	s.walk("/context", document, &faults)
	slices.SortFunc(faults, func(a, b errs.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	return faults
}

func (s Secrets) walk(at string, value any, faults *[]errs.Field) {
	switch v := value.(type) {
	case map[string]any:
		for name, of := range v {
			s.walk(at+"/"+token(name), of, faults)
		}
	case []any:
		for i, of := range v {
			s.walk(at+"/"+strconv.Itoa(i), of, faults)
		}
	case string:
		for _, ref := range References(v) {
			if err := s.allow(ref); err != nil {
				*faults = append(*faults, errs.Field{Pointer: at, Detail: err.Error()})
			}
		}
	}
}

func (s Secrets) allow(ref string) error {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if slices.Contains(s.Env, name) {
			return nil
		}
		return fmt.Errorf("the API may not refer to the variable %s; secrets.env of the host lists those that it may", name)
	}
	path := strings.TrimPrefix(ref, "file:")
	if s.Dir == "" || !below(s.Dir, path) {
		return fmt.Errorf("the API may not refer to the file %s; it may to files below secrets.dir of the host", path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		if dir, err := filepath.EvalSymlinks(s.Dir); err != nil || !below(dir, real) {
			return fmt.Errorf("the file %s lies outside of secrets.dir", path)
		}
	}
	return nil
}

// below reports whether a path names something in a folder, or below it.
func below(dir, path string) bool {
	rest, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsAbs(path) && rest != "." && filepath.IsLocal(rest)
}
