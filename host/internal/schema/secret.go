package schema

import (
	"regexp"
	"slices"
	"strings"
)

// Place is a place in the schemas of documents, for who walks through one of them.
type Place struct {
	nodes []node
}

// node is a part of a schema, and the whole that it may refer to.
type node struct {
	at   map[string]any
	root any
}

// Roots returns the place of whole documents that one of the schemas describes.
func Roots(schemas ...*Schema) Place {
	var p Place
	for _, s := range schemas {
		if s != nil {
			p.add(s.root, s.root, 0)
		}
	}
	return p
}

// Secret reports whether a schema marks this place as a secret.
func (p Place) Secret() bool {
	return slices.ContainsFunc(p.nodes, func(n node) bool { return n.at[mark] == true })
}

// Side returns where a field is to be written, command or cluster; "" when the
// schemas do not say.
func (p Place) Side() string {
	for _, n := range p.nodes {
		if side, ok := n.at["x-heimdall-placement"].(string); ok {
			return side
		}
	}
	return ""
}

// Known reports whether a schema says something of this place.
func (p Place) Known() bool { return len(p.nodes) > 0 }

// Field returns the place of a key of an object that is here.
func (p Place) Field(name string) (field Place) {
	for _, n := range p.nodes {
		properties, _ := n.at["properties"].(map[string]any)
		of, named := properties[name]
		field.add(of, n.root, 0)
		patterns, _ := n.at["patternProperties"].(map[string]any)
		for pattern, of := range patterns {
			if fits, err := regexp.MatchString(pattern, name); fits || err != nil {
				named = true
				field.add(of, n.root, 0)
			}
		}
		if !named {
			field.add(n.at["additionalProperties"], n.root, 0)
			field.add(n.at["unevaluatedProperties"], n.root, 0)
		}
	}
	return field
}

// Element returns the place of an element of a list that is here.
func (p Place) Element(i int) (element Place) {
	for _, n := range p.nodes {
		if first, ok := n.at["prefixItems"].([]any); ok && i < len(first) {
			element.add(first[i], n.root, 0)
		} else {
			element.add(n.at["items"], n.root, 0)
			element.add(n.at["unevaluatedItems"], n.root, 0)
		}
		element.add(n.at["contains"], n.root, 0)
	}
	return element
}

// most bounds how deep schemas refer to themselves.
const most = 16

// add adds a part of a schema, with what it is made of.
func (p *Place) add(part, root any, depth int) {
	at, ok := part.(map[string]any)
	if !ok || depth > most {
		return
	}
	p.nodes = append(p.nodes, node{at, root})
	for _, word := range []string{"$ref", "$dynamicRef"} {
		ref, ok := at[word].(string)
		if !ok {
			continue
		}
		if to := target(root, ref); to != nil {
			p.add(to, root, depth+1)
		} else {
			p.nodes = append(p.nodes, node{sealed, root})
		}
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := at[word].([]any)
		for _, of := range parts {
			p.add(of, root, depth+1)
		}
	}
	for _, word := range []string{"if", "then", "else"} {
		p.add(at[word], root, depth+1)
	}
	dependent, _ := at["dependentSchemas"].(map[string]any)
	for _, of := range dependent {
		p.add(of, root, depth+1)
	}
}

// sealed is the schema of a place of which it cannot be found out what is secret there.
var sealed = map[string]any{"x-heimdall-secret": true}

// target returns what a reference within a schema is to; nil when that is not written as
// a JSON pointer, or is nothing.
func target(root any, ref string) any {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return nil
	}
	return follow(root, pointer)
}

// follow returns what a JSON pointer names; nil when that is nothing.
func follow(root any, pointer string) any {
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		object, _ := root.(map[string]any)
		root = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return root
}
