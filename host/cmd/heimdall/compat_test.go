package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pgtest"
)

// exchange is a request as existing clients send it, and what they read of the
// answer.
type exchange struct {
	What    string
	Request struct {
		Method, Path, Type string
		Body               json.RawMessage
	}
	Status  int
	Type    string
	Answer  any      // is in the answer: <id> stands for the id of the job before, <seconds> for a time of today, <text> for some
	Without []string // fields that the answer does not have
}

// Existing clients are answered in the shapes that they know. What is added does
// not change them.
func TestExistingClients(t *testing.T) {
	for store, url := range map[string]func() string{"sqlite": func() string { return "sqlite" }, "postgres": func() string { return pgtest.URL(t) }} {
		t.Run(store, func(t *testing.T) { existingClients(t, url()) })
	}
}

func existingClients(t *testing.T, store string) {
	address := startDocHost(t, "configs/heimdall.toml", "--store", store)
	text, err := os.ReadFile("testdata/compat/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	var exchanges []exchange
	if err := json.Unmarshal(text, &exchanges); err != nil {
		t.Fatal(err)
	}
	description, err := described()
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, e := range exchanges {
		r, err := http.NewRequestWithContext(t.Context(), e.Request.Method, address+strings.ReplaceAll(e.Request.Path, "<id>", id), bytes.NewReader(e.Request.Body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Heimdall-User", "analyst")
		if e.Request.Type != "" {
			r.Header.Set("Content-Type", e.Request.Type)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != e.Status || e.Type != "" && response.Header.Get("Content-Type") != e.Type {
			t.Errorf("%s: got %s with %s: %s\nwant %d with %s", e.What, response.Status, response.Header.Get("Content-Type"), body, e.Status, e.Type)
			continue
		}
		if err := description.Check(r, response.StatusCode, response.Header, body); err != nil {
			t.Errorf("%s: %v", e.What, err)
		}
		var answer any
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%s: %v: %s", e.What, err, body)
		}
		object, _ := answer.(map[string]any)
		if named, ok := object["id"].(string); ok && e.Status < 300 {
			id = named
		}
		if fault := differs(e.Answer, answer, id, ""); fault != "" {
			t.Errorf("%s: %s in %s", e.What, fault, body)
		}
		for _, field := range e.Without {
			if value, there := object[field]; there {
				t.Errorf("%s: got %s = %v, want none", e.What, field, value)
			}
		}
	}
}

// differs says where an answer lacks what is wanted of it. Objects may have more
// fields, lists are whole.
func differs(want, got any, id, at string) string {
	switch want := want.(type) {
	case nil:
		return ""
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for key := range want {
			if fault := differs(want[key], object[key], id, at+"/"+key); fault != "" {
				return fault
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
		for i := range want {
			if fault := differs(want[i], list[i], id, fmt.Sprintf("%s/%d", at, i)); fault != "" {
				return fault
			}
		}
		return ""
	case string:
		if want == "<seconds>" {
			seconds, ok := got.(float64)
			if now := float64(time.Now().Unix()); !ok || seconds != float64(int64(seconds)) || seconds < now-86400 || seconds > now {
				return fmt.Sprintf("%s is %v, want the seconds of a time of today", at, got)
			}
			return ""
		}
		if text, ok := got.(string); want == "<text>" && ok && text != "" {
			return ""
		}
		if got != strings.ReplaceAll(want, "<id>", id) {
			return fmt.Sprintf("%s is %v, want %s", at, got, want)
		}
		return ""
	}
	if got != want {
		return fmt.Sprintf("%s is %v, want %v", at, got, want)
	}
	return ""
}
