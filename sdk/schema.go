package sdk

import "encoding/json"

// schema returns the shape as JSON Schema (2020-12).
func (s *shape) schema() (string, error) {
	root := s.node()
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	text, err := json.Marshal(root)
	return string(text), err
}

func (s *shape) node() map[string]any {
	node := map[string]any{}
	switch {
	case s.kind != "" && s.nullable:
		node["type"] = []string{s.kind, "null"}
	case s.kind != "":
		node["type"] = s.kind
	}
	if s.format != "" {
		node["format"] = s.format
	}
	if s.pattern != "" {
		node["pattern"] = s.pattern
	}
	if s.base64 {
		node["contentEncoding"] = "base64"
	}
	if s.unsigned {
		node["minimum"] = 0
	}
	if s.secret {
		node["x-heimdall-secret"] = true
	}

	switch s.kind {
	case "array":
		node["items"] = s.elem.node()
	case "object":
		s.object(node)
	}
	return node
}

func (s *shape) object(node map[string]any) {
	if s.elem != nil {
		node["additionalProperties"] = s.elem.node()
		return
	}

	node["additionalProperties"] = s.open
	properties := map[string]any{}
	var required []string
	for _, f := range s.fields {
		properties[f.name] = f.node()
		if f.required {
			required = append(required, f.name)
		}
	}
	if len(properties) > 0 {
		node["properties"] = properties
	}
	if len(required) > 0 {
		node["required"] = required
	}
}

func (f *field) node() map[string]any {
	node := f.shape.node()
	if f.doc != "" {
		node["description"] = f.doc
	}
	if f.placement != "" {
		node["x-heimdall-placement"] = f.placement
	}
	if f.fallback != nil {
		node["default"] = f.fallback
	}
	return node
}
