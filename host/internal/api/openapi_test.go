package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/api/apitest"
)

// described reads what the API says of itself; every answer that these tests get
// from a server is held against it.
var described = apitest.Shared()

// checkDescribed holds an answer against the description of the API.
func checkDescribed(t *testing.T, r *http.Request, a answer) {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(r, a.StatusCode, a.Header, []byte(a.text)); err != nil {
		t.Error(err)
	}
}

// publicPaths are served to anybody.
var publicPaths = []string{"/metrics", "/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/openapi.yaml"}

// Every endpoint is described, and nothing else; each is named, and described as
// public exactly when it is.
func TestDescriptionHasEveryEndpoint(t *testing.T) {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	var got []string
	for path, item := range d.Doc.Paths.Map() {
		for method, operation := range item.Operations() {
			got = append(got, method+" "+path)
			public := operation.Security != nil && len(*operation.Security) == 0
			if want := slices.Contains(publicPaths, path); public != want {
				t.Errorf("%s %s: described as public: %v, want %v", method, path, public, want)
			}
			if operation.OperationID == "" || operation.Summary == "" || len(operation.Tags) != 1 {
				t.Errorf("%s %s lacks an operationId, a summary or its tag", method, path)
			}
		}
	}
	want := api.Endpoints()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("described are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDescriptionIsServed(t *testing.T) {
	s := serve(t, newFake())
	for path, contentType := range map[string]string{"/api/v1/openapi.json": "application/json", "/api/v1/openapi.yaml": "application/yaml"} {
		a := s.do(t, "GET", path, "", "X-Heimdall-User: ")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: got %d with %q, want 200 with %q", path, a.StatusCode, a.Header.Get("Content-Type"), contentType)
		}
		doc, err := openapi3.NewLoader().LoadFromData([]byte(a.text))
		if err != nil || doc.OpenAPI != "3.1.0" {
			t.Errorf("%s: got %v and error %v, want an OpenAPI document", path, doc, err)
		}
	}
}

// Without this test, an answer that is not described might pass all others.
func TestAnswersThatAreNotDescribedAreFound(t *testing.T) {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path        string
		status      int
		contentType string
		body        string
		good        bool
	}{
		"a status":           {"/api/v1/job/x/status", 200, "application/json", `{"status":"NEW"}`, true},
		"no status":          {"/api/v1/job/x/status", 200, "application/json", `{}`, false},
		"another status":     {"/api/v1/job/x/status", 200, "application/json", `{"status":"DONE"}`, false},
		"a field too many":   {"/api/v1/job/x/status", 200, "application/json", `{"status":"NEW","secret":1}`, false},
		"a wrong type":       {"/api/v1/job/x/status", 200, "application/json", `{"status":"NEW","updated_at":"now"}`, false},
		"another media type": {"/api/v1/job/x/status", 200, "text/html", `{"status":"NEW"}`, false},
		"no problem":         {"/api/v1/job/x/status", 404, "application/problem+json", `{"error":"no"}`, false},
		"another path":       {"/api/v1/job/x/state", 200, "application/json", `{"status":"NEW"}`, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://h"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Check(r, c.status, http.Header{"Content-Type": {c.contentType}}, []byte(c.body))
		if (err == nil) != c.good {
			t.Errorf("%s: got %v, want it found: %v", name, err, !c.good)
		}
	}
}
