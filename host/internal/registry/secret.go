package registry

import (
	"bytes"
	"encoding/json"
	"maps"
	"strconv"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/schema"
)

// Split takes the texts that the plugin of a command marks as secret out of settings,
// as references are, and adds them to secrets by their JSON pointers: a file may have
// them written out, and from here on they are to be treated alike.
func (r *Registry) Split(c *catalog.Command, settings json.RawMessage, secrets map[string][]byte) (json.RawMessage, map[string][]byte) {
	d, err := r.Plugins.Described(c.Plugin, c.PluginVersion)
	if err != nil {
		return settings, secrets
	}
	marks := r.schemas.of(d.SettingsSchema)
	if !marks.Marks() {
		return settings, secrets
	}
	var document map[string]any
	if decode(settings, &document) != nil {
		return settings, secrets // the plugin says what is wrong with it
	}
	found := map[string][]byte{}
	take(schema.Roots(marks), "", document, found)
	if len(found) == 0 {
		return settings, secrets
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(document) != nil {
		return settings, secrets
	}
	maps.Copy(found, secrets)
	return bytes.TrimSpace(b.Bytes()), found
}

// take takes the secrets out of a value that is none itself. In a list, null keeps the
// place of one. It reports whether the value is a secret.
func take(place schema.Place, at string, value any, found map[string][]byte) (secret bool) {
	switch v := value.(type) {
	case string:
		if place.Secret() {
			found[at] = []byte(v)
			return true
		}
	case map[string]any:
		for name, of := range v {
			if take(place.Field(name), at+"/"+token(name), of, found) {
				delete(v, name)
			}
		}
	case []any:
		for i, of := range v {
			if take(place.Element(i), at+"/"+strconv.Itoa(i), of, found) {
				v[i] = nil
			}
		}
	}
	return false
}
