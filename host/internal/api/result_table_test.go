package api_test

import (
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func TestTableFormats(t *testing.T) {
	f := newFake()
	id, document, broken := job.NewID(), job.NewID(), job.NewID()
	const content = `{"columns":[{"name":"a","type":"int8"}],"data":[[1],[2],[3]]}`
	j := &job.Job{ID: id, Status: job.Succeeded, Result: table(content)}
	j.Request.Name = "my/report"
	f.add(j)
	f.add(&job.Job{ID: document, Status: job.Succeeded, Result: &job.Result{ContentType: "text/plain", Bytes: 2, Inline: []byte("hi")}})
	f.add(&job.Job{ID: broken, Status: job.Succeeded, Result: table(`{"columns":[{"name":"a","type":"int8"}],"data":[[1,2]]}`)})
	s := serve(t, f)
	path := func(id job.ID) string { return "/api/v1/job/" + string(id) + "/result" }
	for name, c := range map[string]struct {
		query, accept string
		id            job.ID
		status        int
		want          string
	}{
		"CSV":               {"?format=csv", "", id, 200, "a\r\n1\r\n2\r\n3\r\n"},
		"by Accept":         {"", "text/html, text/csv;q=0.9, */*;q=0.1", id, 200, "a\r\n1\r\n2\r\n3\r\n"},
		"as a browser asks": {"", "text/html,*/*;q=0.8", id, 200, content},
		"some rows":         {"?format=ndjson&offset=1&limit=1", "", id, 200, "{\"a\":2}\n"},
		"some rows of JSON": {"?limit=1", "", id, 200, `{"columns":[{"name":"a","type":"int8"}],"data":[[1]]}`},
		"TSV, no header":    {"?format=tsv&header=false", "", id, 200, "1\n2\n3\n"},
		"no such format":    {"?format=xls", "", id, 406, "ndjson"},
		"none accepted":     {"", "image/png", id, 406, "csv"},
		"refused":           {"", "application/json;q=0, text/html", id, 406, "csv"},
		"a bad limit":       {"?limit=-1", "", id, 400, "limit"},
		"a bad delimiter":   {"?format=csv&delimiter=ab", "", id, 400, "delimiter"},
		"a document":        {"?format=csv", "", document, 406, "document"},
		"a broken table":    {"?format=csv", "", broken, 422, "row 1"},
	} {
		headers := []string{"Accept-Encoding: identity"}
		if c.accept != "" {
			headers = append(headers, "Accept: "+c.accept)
		}
		a := s.do(t, "GET", path(c.id)+c.query, "", headers...)
		if a.StatusCode != c.status || a.StatusCode == 200 && a.text != c.want || !strings.Contains(a.text, c.want) {
			t.Errorf("%s: got %d %q, want %d %q", name, a.StatusCode, a.text, c.status, c.want)
		}
	}
	a := s.do(t, "GET", path(id)+"?format=csv", "", "Accept-Encoding: identity")
	if got := a.Header.Get("Content-Disposition"); got != "attachment; filename=my_report.csv" {
		t.Errorf("Content-Disposition = %q, want the job's name", got)
	}
	tag := a.Header.Get("ETag")
	if again := s.do(t, "GET", path(id)+"?format=csv", "", "If-None-Match: "+tag); again.StatusCode != 304 {
		t.Errorf("status = %d, want 304 for what is known", again.StatusCode)
	}
	if other := s.do(t, "GET", path(id)+"?format=tsv", "", "If-None-Match: "+tag); other.StatusCode != 200 {
		t.Errorf("status = %d, want 200: another representation has another name", other.StatusCode)
	}
}
