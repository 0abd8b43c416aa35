package attribute_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/attribute"
)

var data = map[string]any{
	"Job":     map[string]any{"ID": "7", "Name": "a b&c", "Tags": []any{"x", "y"}, "N": 3, "Long": strings.Repeat("x", 9<<10), "Odd": "a\x00b\x1b[31mc\xff"},
	"Outputs": map[string]any{"app id": "app_1", "address": "https://h/x"},
}

func TestRender(t *testing.T) {
	t.Parallel()
	var r attribute.Renderer
	for name, c := range map[string]struct {
		kind, text, want string
	}{
		"text":            {"text", "job {{.Job.ID}}", "job 7"},
		"as it stands":    {"text", "plain", "plain"},
		"link":            {"link", "https://h/{{.Job.ID}}?q={{urlquery .Job.Name}}", "https://h/7?q=a+b%26c"},
		"whole link":      {"link", "{{.Outputs.address}}", "https://h/x"},
		"index":           {"text", `{{index .Outputs "app id"}} {{index .Job.Tags 1}}`, "app_1 y"},
		"join":            {"text", `{{join .Job.Tags ", "}}`, "x, y"},
		"printf":          {"text", `{{printf "%s-%d%%" .Job.ID .Job.N}}`, "7-3%"},
		"print":           {"text", `{{print .Job.ID .Job.N "z"}}`, "73z"},
		"condition":       {"text", `{{if eq .Job.ID "7"}}seven{{else}}other{{end}}`, "seven"},
		"with":            {"text", `{{with .Job}}{{.ID}} {{$.Outputs.address}}{{end}}`, "7 https://h/x"},
		"variable":        {"text", `{{$x := .Job.ID}}{{$x}}{{$x}}`, "77"},
		"nothing":         {"link", `{{if eq .Job.ID "8"}}https://h{{end}}`, ""},
		"odd characters":  {"text", "{{.Job.Odd}}", "ab[31mc"},
		"space around it": {"text", "\n {{- .Job.ID}} \n", "7"},
	} {
		if fault := attribute.Fault(c.kind, c.text); fault != "" {
			t.Errorf("%s: fault %q, want none", name, fault)
		}
		got, err := r.Render(c.kind, c.text, data)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestWhatCannotBeMade(t *testing.T) {
	t.Parallel()
	var r attribute.Renderer
	for name, c := range map[string]struct {
		kind, text string
		missing    bool
	}{
		"missing":                {"text", "{{.Outputs.no}}", true},
		"missing deep":           {"text", "{{.Outputs.no.deep}}", true},
		"missing by index":       {"text", `{{index .Outputs "no"}}`, true},
		"missing in a list":      {"text", `{{index .Job.Tags 2}}`, true},
		"missing in a condition": {"text", `{{if .Outputs.no}}x{{end}}`, true},
		"a field of a text":      {"text", "{{.Job.ID.deep}}", false},
		"an object as a text":    {"text", "{{print .Job}}", false},
		"no address":             {"link", "{{.Job.ID}}", false},
		"another scheme":         {"link", `{{"javascript:alert(1)"}}`, false},
		"too long":               {"text", "{{.Job.Long}}", false},
		"longer and longer":      {"text", strings.Repeat(`{{$x := "aaaaaaaaaa"}}`, 1) + `{{$x := print $x $x $x $x $x $x $x $x $x $x}}{{$x := print $x $x $x $x $x $x $x $x $x $x}}{{$x := print $x $x $x $x $x $x $x $x $x $x}}{{$x}}`, false},
		"escaped and longer":     {"text", `{{$x := print "%%%%%%%%%%%%%%%%"}}` + strings.Repeat(`{{$x = urlquery $x $x $x $x}}`, 20) + `{{$x}}`, false},
		"wide":                   {"text", `{{printf "%999999d" 1}}`, false},
	} {
		start := time.Now()
		got, err := r.Render(c.kind, c.text, data)
		if err == nil || errors.Is(err, attribute.ErrMissing) != c.missing {
			t.Errorf("%s: got %q, %v, want an error that says missing: %t", name, got, err, c.missing)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ kind, text, want string }{
		"empty":          {"text", "", "missing"},
		"open":           {"text", "{{.Job", "this is no template"},
		"unknown word":   {"text", "{{env \"HOME\"}}", `function "env" not defined`},
		"call":           {"text", "{{call .Job.ID}}", "may not use call"},
		"html":           {"text", "{{html .Job.ID}}", "may not use html"},
		"in a pipe":      {"text", "{{.Job.ID | js}}", "may not use js"},
		"in a condition": {"text", "{{if true}}{{else if (println 1)}}{{end}}", "may not use println"},
		"loop":           {"text", "{{range 1000000000}}{{end}}", "may not use {{range"},
		"recursion":      {"text", `{{define "x"}}{{template "x"}}{{end}}`, "may not define"},
		"another":        {"text", `{{template "y"}}`, "may not use {{template"},
		"block":          {"text", `{{block "x" .}}{{end}}`, "may not"},
		"long":           {"text", strings.Repeat("a", 5000), "longer than"},
		"bad link":       {"link", "javascript:{{.Job.ID}}", "http://"},
		"path":           {"link", "/job/{{.Job.ID}}", "http://"},
	} {
		if got := attribute.Fault(c.kind, c.text); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want it to say %q", name, got, c.want)
		}
	}
	for label, bad := range map[string]bool{"Spark UI": false, "": true, " ": true, "a\nb": true, strings.Repeat("a", 300): true} {
		if got := attribute.LabelFault(label); (got != "") != bad {
			t.Errorf("label %.20q: got %q, want a fault: %t", label, got, bad)
		}
	}
}

// Many jobs end at once; each shows what is its own.
func TestManyRenderAtOnce(t *testing.T) {
	t.Parallel()
	var r attribute.Renderer
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := strings.Repeat("i", i+1)
			for range 200 {
				got, err := r.Render("text", "{{.ID}}"+id, map[string]any{"ID": id})
				if err != nil || got != id+id {
					t.Errorf("got %q, %v, want %q", got, err, id+id)
					return
				}
			}
		})
	}
	all.Wait()
}

func FuzzRender(f *testing.F) {
	for _, text := range []string{"{{.Job.ID}}", `{{index .Outputs "app id"}}`, "{{if .x}}{{end}}", "{{with $x := 1}}{{$x}}{{end}}", "{{range .}}{{end}}"} {
		f.Add("text", text)
		f.Add("link", text)
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		var r attribute.Renderer
		fault := attribute.Fault(kind, text)
		value, err := r.Render(kind, text, data)
		if len(value) > 8<<10 || err != nil && value != "" {
			t.Errorf("got %d bytes, %v", len(value), err)
		}
		if fault == "" && err != nil && strings.Contains(err.Error(), "no template") {
			t.Errorf("got %v of a template without faults", err)
		}
	})
}
