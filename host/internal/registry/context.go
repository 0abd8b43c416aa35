package registry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/host/internal/schema"
)

// schemas keeps the schemas that were read, by their texts.
type schemas struct {
	mu   sync.Mutex
	read map[string]*schema.Schema
}

// mostSchemas bounds how many are kept: plugins come and go.
const mostSchemas = 256

// of returns the schema of a text. One that cannot be read takes anything, as plugins
// do with what they do not check.
func (s *schemas) of(text json.RawMessage) *schema.Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.read[string(text)]
	if !ok {
		if len(s.read) >= mostSchemas {
			clear(s.read)
		}
		found, _ = schema.Read(text)
		s.read[string(text)] = found
	}
	return found
}

// scope is what is known of the settings in a context.
type scope struct {
	place schema.Place
	whole bool // a key that is not known is no secret: the plugin has no schema
	known bool // there is a plugin to ask
}

// scopeOf returns what is known of an object's context: what the plugin of a command
// says, and of a cluster what any plugin says that serves here.
func (r *Registry) scopeOf(e *catalog.Entry) scope {
	var descriptions []*pluginhost.Description
	if e.Kind == catalog.CommandKind {
		if d, err := r.Plugins.Described(e.Command.Plugin, e.Command.PluginVersion); err == nil {
			descriptions = append(descriptions, d)
		}
	} else {
		descriptions = r.Plugins.Descriptions()
	}
	var all []*schema.Schema
	for _, d := range descriptions {
		all = append(all, r.schemas.of(d.SettingsSchema))
	}
	return scope{
		place: schema.Roots(all...),
		whole: e.Kind == catalog.CommandKind && len(all) == 1 && all[0] == nil,
		known: len(all) > 0,
	}
}

// Public returns the context of an object as everybody may know it: what is secret,
// what refers to a secret, and what no plugin here knows, says only that it is set,
// and what it refers to.
func (r *Registry) Public(e *catalog.Entry) []byte {
	context := e.Object().Context
	if len(context) == 0 || string(context) == "{}" {
		return []byte("{}")
	}
	if e.Object().Elsewhere {
		return context // it is what the other host lets everybody know
	}
	var document map[string]any
	if decode(context, &document) != nil {
		return []byte("{}")
	}
	scope := r.scopeOf(e)
	for name, value := range document {
		place := scope.place.Field(name)
		if !scope.known || !scope.whole && !place.Known() {
			document[name] = hidden(value)
		} else {
			document[name] = open(place, value)
		}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(document) != nil {
		return []byte("{}")
	}
	return bytes.TrimSpace(b.Bytes())
}

// PublicInput returns the input of a job of a command likewise; {} where its plugin is
// not known.
func (r *Registry) PublicInput(c *catalog.Command, input json.RawMessage) []byte {
	d, err := r.Plugins.Described(c.Plugin, c.PluginVersion)
	var document any
	if err != nil || decode(input, &document) != nil {
		return []byte("{}")
	}
	public, err := json.Marshal(open(schema.Roots(r.schemas.of(d.InputSchema)), document))
	if err != nil {
		return []byte("{}")
	}
	return public
}

// open returns a value as everybody may know it.
func open(place schema.Place, value any) any {
	if place.Secret() {
		return hidden(value)
	}
	switch v := value.(type) {
	case string:
		if _, ok := config.Reference(v); ok {
			return hidden(v)
		}
	case map[string]any:
		for name, of := range v {
			v[name] = open(place.Field(name), of)
		}
	case []any:
		for i, of := range v {
			v[i] = open(place.Element(i), of)
		}
	}
	return value
}

// hidden stands for a value that is not shown. What is nothing but a reference can be
// sent back as it is shown; what has one, or several, is marked as a part of the value.
func hidden(value any) any {
	shown := map[string]any{"set": true}
	if text, ok := value.(string); ok {
		if refs := config.References(text); len(refs) > 0 {
			shown["ref"] = strings.Join(refs, " ")
			if _, whole := config.Reference(text); !whole {
				shown["part"] = true
			}
		}
	}
	return shown
}

// isHidden reports whether a value stands for one that is not shown, and not for a
// reference: nobody can know what is meant by it.
func isHidden(value any) bool {
	shown, ok := value.(map[string]any)
	if !ok || shown["set"] != true {
		return false
	}
	for name := range shown {
		if name != "set" && name != "ref" && name != "part" {
			return false
		}
	}
	return true
}

// judge returns what is wrong with the context of an object that the API declares.
func (r *Registry) judge(e *catalog.Entry) (faults []errs.Field) {
	const at = "/context"
	context := e.Object().Context
	if e.Kind == catalog.CommandKind {
		if _, err := r.Plugins.Described(e.Command.Plugin, e.Command.PluginVersion); err != nil {
			return []errs.Field{{Pointer: "/plugin", Detail: "its context cannot be checked: " + err.Error()}}
		}
		faults = r.Settings(e.Command)
	}
	var document map[string]any
	if decode(context, &document) != nil {
		return []errs.Field{{Pointer: at, Detail: "this is not a JSON object"}}
	}
	scope := r.scopeOf(e)
	for name, value := range document {
		place, pointer := scope.place.Field(name), at+"/"+token(name)
		if e.Kind == catalog.ClusterKind && !place.Known() {
			faults = append(faults, errs.Field{Pointer: pointer, Detail: "no plugin of this host knows this key"})
			continue
		}
		if side := place.Side(); side != "" && side != string(e.Kind) {
			faults = append(faults, errs.Field{Pointer: pointer, Detail: "this belongs to the " + side})
		}
		literals(place, value, pointer, &faults)
	}
	if r.Allow != nil {
		faults = append(faults, r.Allow(context)...)
	}
	slices.SortStableFunc(faults, func(a, b errs.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	return slices.CompactFunc(faults, func(a, b errs.Field) bool { return a.Pointer == b.Pointer })
}

// Settings returns what is wrong with the context of a command, as far as its plugin is
// known here.
func (r *Registry) Settings(c *catalog.Command) []errs.Field {
	d, err := r.Plugins.Described(c.Plugin, c.PluginVersion)
	if err != nil {
		return nil
	}
	return r.schemas.of(d.SettingsSchema).Part(c.Context, "/context", refers)
}

// Input returns what is wrong with the input of a job of a command, as far as its plugin
// is known here. Pointers are those of a submission.
func (r *Registry) Input(c *catalog.Command, input json.RawMessage) []errs.Field {
	d, err := r.Plugins.Described(c.Plugin, c.PluginVersion)
	if err != nil {
		return nil
	}
	return r.schemas.of(d.InputSchema).Input(input, "/context")
}

// refers reports whether a text has a reference.
func refers(text string) bool { return len(config.References(text)) > 0 }

// literals finds secrets that are written out, and what only stands for a value.
func literals(place schema.Place, value any, at string, faults *[]errs.Field) {
	if isHidden(value) {
		*faults = append(*faults, errs.Field{Pointer: at, Detail: "this stands for a value that is not shown: write the value itself, with references such as ${env:NAME} for what is secret"})
		return
	}
	text, ok := value.(string)
	if place.Secret() && value != nil {
		if !ok || text != "" && !refers(text) {
			*faults = append(*faults, errs.Field{Pointer: at, Detail: "this is a secret: use a reference, such as ${env:NAME} or ${file:/path}"})
		}
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for name, of := range v {
			literals(place.Field(name), of, at+"/"+token(name), faults)
		}
	case []any:
		for i, of := range v {
			literals(place.Element(i), of, at+"/"+strconv.Itoa(i), faults)
		}
	}
}

// decode reads JSON, numbers as they are written.
func decode(text []byte, to any) error {
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(to)
}

// token writes a name as a part of a JSON pointer (RFC 6901).
func token(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
