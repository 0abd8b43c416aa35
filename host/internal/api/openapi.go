package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

// document describes the API, in OpenAPI 3.1. It is written by hand; tests hold
// it against the endpoints and their answers.
//
//go:embed openapi.yaml
var document []byte

// Document returns the description of the API as JSON.
func Document() ([]byte, error) {
	var v any
	if err := yaml.Unmarshal(document, &v); err != nil {
		return nil, fmt.Errorf("read the description of the API: %w", err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write the description of the API as JSON: %w", err)
	}
	return text, nil
}

// openAPI serves GET /openapi.json.
func (h *Handler) openAPI(x *exchange) error {
	text, err := h.document()
	if err != nil {
		return err
	}
	x.writeText("application/json", http.StatusOK, text)
	return nil
}

// openAPIYAML serves GET /openapi.yaml.
func (h *Handler) openAPIYAML(x *exchange) error {
	x.writeText("application/yaml", http.StatusOK, document)
	return nil
}
