// Package apitest holds answers of the API against the description that the API
// gives of itself, for the tests of whoever asks it.
package apitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/canary"
)

// Description is what the API says of itself.
type Description struct {
	Doc    *openapi3.T
	router routers.Router
}

// New reads the description. Where it names the fields of an object and does not
// say that there may be others, there may be none: what is answered is to be
// described.
func New() (*Description, error) {
	text, err := api.Document()
	if err != nil {
		return nil, err
	}
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(closed(whole)); err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.RegisteredBodyDecoder("application/json"))
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.RegisteredBodyDecoder("text/plain"))
	router, err := gorillamux.NewRouter(doc)
	return &Description{doc, router}, err
}

// Shared returns a reader of the description that reads it once.
func Shared() func() (*Description, error) { return sync.OnceValues(New) }

// closed lets objects with named fields have no others.
func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = closed(v[key])
		}
		_, named := v["properties"].(map[string]any)
		if _, said := v["additionalProperties"]; named && !said && v["type"] == "object" {
			v["additionalProperties"] = false
		}
	case []any:
		for i := range v {
			v[i] = closed(v[i])
		}
	}
	return v
}

// mostLines is how many lines of a batch are looked at.
const mostLines = 20

// Check returns an error when an answer is not as described. What has no body is
// not looked at, nor what is packed.
// No answer holds a secret of the tests.
func (d *Description) Check(r *http.Request, status int, header http.Header, body []byte) error {
	if err := canary.Find(fmt.Appendf(body[:len(body):len(body)], "\n%v", header)); err != nil {
		return fmt.Errorf("%s %s: the answer %d has %w", r.Method, r.URL.Path, status, err)
	}
	if r.Method == http.MethodHead || header.Get("Content-Encoding") != "" {
		return nil
	}
	asked := r.Clone(r.Context())
	asked.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery} // wherever it was asked
	route, params, err := d.router.FindRoute(asked)
	if err != nil {
		switch status { // no such path, or method
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed:
			return nil
		}
		return fmt.Errorf("%s %s is answered with %d and not described: %w", r.Method, r.URL.Path, status, err)
	}
	parts := []string{string(body)}
	if header.Get("Content-Type") == "application/x-ndjson" { // each line is of the schema
		parts = strings.Split(strings.TrimSpace(string(body)), "\n")
	}
	for _, part := range parts[:min(len(parts), mostLines)] {
		err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route},
			Status:                 status,
			Header:                 header,
			Body:                   io.NopCloser(strings.NewReader(part)),
			Options:                &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			return fmt.Errorf("%s %s: the answer %d is not as described: %w\n%.500s", r.Method, r.URL.Path, status, err, part)
		}
	}
	return nil
}
