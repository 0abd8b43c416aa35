package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// printYAML prints JSON as YAML. Keys keep their order, and numbers their digits.
func (a *app) printYAML(r io.Reader) error {
	d := json.NewDecoder(r)
	d.UseNumber()
	node, err := yamlOf(d)
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = text.WriteTo(a.Stdout)
	return err
}

// yamlOf returns the next value as YAML has it.
func yamlOf(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if t == '{' {
			node.Kind, node.Tag = yaml.MappingNode, "!!map"
		}
		for d.More() { // keys are values of their own
			of, err := yamlOf(d)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, of)
		}
		if len(node.Content) == 0 {
			node.Style = yaml.FlowStyle
		}
		_, err := d.Token()
		return node, err
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}
