package main_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spansOf gathers the names and ids of the spans that a host exports.
type spansOf struct {
	mu    sync.Mutex
	names []string
	ids   map[string]string // by name
	trace string            // that they are of
}

func (s *spansOf) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var request otlp.ExportTraceServiceRequest
	_ = proto.Unmarshal(body, &request) // what is none has no spans
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range request.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				s.names = append(s.names, span.Name)
				s.ids[span.Name] = hex.EncodeToString(span.SpanId)
				s.trace = hex.EncodeToString(span.TraceId)
			}
		}
	}
}

func (s *spansOf) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.names, name)
}

// traced is a configuration with one command.
const traced = `
[[commands]]
name = "trace"
plugin = "shell"
tags = ["type:trace"]
[commands.context]
command = ["/bin/sh", "-c", "printf %s $$TRACEPARENT"]
[[clusters]]
name = "localhost"
`

// With a collector in the environment, a host exports the spans of a job, and its
// program is told the one of its plugin.
func TestTraces(t *testing.T) {
	into := &spansOf{ids: map[string]string{}}
	collector := httptest.NewServer(into)
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // ms
	config := filepath.Join(t.TempDir(), "heimdall.toml")
	if err := os.WriteFile(config, []byte(traced), 0o600); err != nil {
		t.Fatal(err)
	}
	address := startDocHost(t, config)

	body := `{"command_criteria":["type:trace"]}`
	r, err := http.NewRequest("POST", address+"/api/v1/job", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	r.Header.Set("X-Heimdall-User", "ann")
	r.Header.Set("Prefer", "wait=10")
	r.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("status = %d, want 200: %s", answer.StatusCode, content)
	}
	for _, name := range []string{"POST /api/v1/job", "queue", "attempt", "plugin"} {
		if err := until("the span "+name, func() bool { return into.has(name) }); err != nil {
			t.Error(err)
		}
	}
	id, _, _ := strings.Cut(strings.SplitN(string(content), `"id":"`, 2)[1], `"`)
	_, told := curl(t, `curl -H "X-Pattern-User: ann" `+written+"/api/v1/job/"+id+"/stdout", address, "")
	into.mu.Lock()
	defer into.mu.Unlock()
	if want := "00-" + trace + "-" + into.ids["plugin"] + "-01"; string(told) != want || into.trace != trace {
		t.Errorf("the program was told %q, want %q", told, want)
	}
}
