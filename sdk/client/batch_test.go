package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func TestSubmitBatch(t *testing.T) {
	answer := ""
	c := scripted(t, map[string]http.HandlerFunc{"POST /api/v1/jobs": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := r.Header.Get("Content-Type") + " " + string(body); got != "application/x-ndjson {}\n{}\n" {
			t.Errorf("request = %q, want the lines", got)
		}
		says(200, "application/x-ndjson", answer)(w, r)
	}})
	submit := func() (items []client.Item, err error) {
		err = c.SubmitBatch(t.Context(), strings.NewReader("{}\n{}\n"), func(i *client.Item) error {
			items = append(items, *i)
			if i.ID == "stop" {
				return io.ErrClosedPipe
			}
			return nil
		})
		return items, err
	}
	answer = `{"index":0,"status":202,"id":"7"}` + "\n" + `{"index":1,"status":429,"error":"too many","retry_after":3}` + "\n"
	items, err := submit()
	if err != nil || len(items) != 2 || items[0].ID != "7" || items[0].Err() != nil {
		t.Fatalf("items = %+v, %v, want two", items, err)
	}
	if e, ok := errors.AsType[*client.Error](items[1].Err()); !ok || e.Status != 429 || e.RetryAfter != 3*time.Second || e.Message != "too many" {
		t.Errorf("error = %+v, want what the second was refused for", e)
	}
	answer = `{"index":0,"status":202,"id":"7"}` + "\n" + `{"index":1,"sta`
	if items, err := submit(); len(items) != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("items = %+v, %v, want one and that the rest is cut off", items, err)
	}
	answer = `{"index":0,"status":202,"id":"stop"}` + "\n" + `{"index":1,"status":202}` + "\n"
	if items, err := submit(); len(items) != 1 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("items = %+v, %v, want to stop behind the first", items, err)
	}
}

func TestExplainAndResolve(t *testing.T) {
	const chosen = `{"summary":"s","chosen":{"command_id":"c","cluster_id":"k"},"choices":1,"counts":{"commands":{"fits":1},"pairs":{"fits":1}},"not_chosen":[],"not_listed":4}`
	c := scripted(t, map[string]http.HandlerFunc{
		"GET /api/v1/job/7/explain": says(200, "application/json", chosen),
		"GET /api/v1/job/8/explain": says(404, "application/problem+json", `{"error":"no job"}`),
		"POST /api/v1/resolve": says(422, "application/problem+json",
			`{"error":"none fits","summary":"none","not_chosen":[{"command_id":"c","verdict":"lacks_tags","lacks":["a"]}]}`),
	})
	e, err := c.Explain(t.Context(), "7")
	if err != nil || e.Chosen == nil || e.Chosen.ClusterID != "k" || e.NotListed != 4 || e.Counts.Pairs["fits"] != 1 || string(e.Raw) != chosen {
		t.Errorf("Explain = %+v, %v, want the pair", e, err)
	}
	if e, err := c.Explain(t.Context(), "8"); !client.IsNotFound(err) || e != nil {
		t.Errorf("Explain = %+v, %v, want not found", e, err)
	}
	e, err = c.Resolve(t.Context(), client.Submission{CommandCriteria: []string{"a"}})
	if err == nil || err.Error() != "none fits" || e == nil || len(e.NotChosen) != 1 || e.NotChosen[0].Lacks[0] != "a" {
		t.Errorf("Resolve = %+v, %v, want the refusal and why", e, err)
	}
}

func TestLogFromAPlace(t *testing.T) {
	c := scripted(t, map[string]http.HandlerFunc{"GET /api/v1/job/7/stdout?": func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}})
	for from, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", 99: ""} {
		log, err := c.Log(t.Context(), "7", client.Stdout, client.LogOptions{From: from})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(log)
		log.Close()
		if err != nil || string(got) != want {
			t.Errorf("from %d: got %q, %v, want %q", from, got, err, want)
		}
	}
}

func TestHostsAndState(t *testing.T) {
	c := scripted(t, map[string]http.HandlerFunc{
		"GET /api/v1/hosts":                says(200, "application/json", `{"data":[{"id":"1","state":"live","plugins":{"ping":["0.1.0"]}}],"catalogs_differ":true}`),
		"GET /api/v1/job/7/status?wait=5s": says(200, "application/json", `{"status":"FAILED","error":"no","updated_at":3}`),
	})
	if h, err := c.Hosts(t.Context()); err != nil || len(h.Hosts) != 1 || !h.CatalogsDiffer || h.Hosts[0].Plugins["ping"][0] != "0.1.0" {
		t.Errorf("Hosts = %+v, %v, want one", h, err)
	}
	if s, err := c.State(t.Context(), "7", 5*time.Second); err != nil || s.Status != client.StatusFailed || s.Error != "no" {
		t.Errorf("State = %+v, %v, want FAILED", s, err)
	}
}
