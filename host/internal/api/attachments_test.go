package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// part is a part of a form.
type part struct{ name, file, kind, content string }

// form returns a form as a client sends it, and its content type.
func form(t *testing.T, parts ...part) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		header := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q`, p.name)}}
		if p.file != "" {
			header.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, p.name, p.file))
		}
		if p.kind != "" {
			header.Set("Content-Type", p.kind)
		}
		to, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = to.Write([]byte(p.content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestSubmitWithFiles(t *testing.T) {
	f := newFake()
	s := serve(t, f)
	sent := s.do(t, "PUT", "/api/v1/attachment/"+digest("before"), "before", "Content-Type: text/plain")
	if want := fmt.Sprintf(`{"bytes":6,"sha256":"%s"}`, digest("before")); sent.StatusCode != http.StatusCreated || strings.TrimSpace(sent.text) != want {
		t.Fatalf("the upload is answered %d with %s, want 201 with %s", sent.StatusCode, sent.text, want)
	}
	named := strings.Replace(ping, "{", fmt.Sprintf(`{"attachments":[{"name":"old","sha256":"%s","content_type":"text/plain; charset=utf-8"}],`, digest("before")), 1)
	body, kind := form(t, part{"job", "", "application/json", named}, part{"file", "näme 1.csv", "text/csv", "a,b\n"}, part{"x", "empty", "", ""})
	a := s.do(t, "POST", "/api/v1/job", body, kind)
	if a.StatusCode != http.StatusAccepted {
		t.Fatalf("status = %d, want 202; body %s", a.StatusCode, a.text)
	}
	id := job.ID(a.json(t)["id"].(string))
	want := []job.Attachment{
		{Name: "old", ContentType: "text/plain", SHA256: digest("before")},
		{Name: "näme 1.csv", ContentType: "text/csv", SHA256: digest("a,b\n")},
		{Name: "empty", ContentType: "application/octet-stream", SHA256: digest("")},
	}
	if diff := cmp.Diff(want, s.jobs[id].Attachments); diff != "" {
		t.Errorf("attachments differ (-want +got):\n%s", diff)
	}
	if got := s.do(t, "GET", "/api/v1/job/"+string(id), "").json(t)["attachments"].([]any); len(got) != 3 || got[1].(map[string]any)["name"] != "näme 1.csv" {
		t.Errorf("the job shows %v, want its files", got)
	}

	path := "/api/v1/job/" + string(id) + "/attachments/n%C3%A4me%201.csv"
	got := s.do(t, "GET", path, "", "Range: bytes=2-")
	if got.StatusCode != http.StatusPartialContent || got.text != "b\n" || got.Header.Get("Content-Type") != "application/octet-stream" ||
		got.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment;") {
		t.Errorf("the file is answered %d %q with %v, want a part of it, as a file", got.StatusCode, got.text, got.Header)
	}
	if again := s.do(t, "GET", path, "", `If-None-Match: "`+digest("a,b\n")+`"`); again.StatusCode != http.StatusNotModified {
		t.Errorf("the same file is answered %d, want 304", again.StatusCode)
	}
	checkProblem(t, s.do(t, "GET", "/api/v1/job/"+string(id)+"/attachments/other", ""), 404, "no file named")
}

// A file is there for who has sent it, and nobody else.
func TestUploadsOfOthers(t *testing.T) {
	s := serve(t, newFake())
	path := "/api/v1/attachment/" + digest("mine")
	s.do(t, "PUT", path, "mine")
	if a := s.do(t, "GET", path, ""); a.StatusCode != http.StatusOK || a.json(t)["bytes"] != 4.0 {
		t.Errorf("its sender is answered %d %s, want that it is there", a.StatusCode, a.text)
	}
	checkProblem(t, s.do(t, "GET", path, "", "X-Heimdall-User: other"), 404, "no such file")
	checkProblem(t, s.do(t, "PUT", path, "other"), 422, "another SHA-256")
	checkProblem(t, s.do(t, "PUT", "/api/v1/attachment/"+strings.ToUpper(digest("mine")), "mine"), 404, "is no SHA-256")
	checkProblem(t, s.do(t, "PUT", "/api/v1/attachment/..%2Fmine", "mine"), 404, "is no SHA-256")
	checkProblem(t, s.do(t, "PUT", path, "mine", "Content-Encoding: gzip"), 415, "gzip")
}

func TestFormsThatAreRefused(t *testing.T) {
	submission := part{"job", "", "", ping}
	file := part{"file", "a", "", "a"}
	many := []part{submission}
	for i := range job.MaxAttachments + 1 {
		many = append(many, part{"file", fmt.Sprint("f", i), "", ""})
	}
	sum := digest("x")
	list := func(items string) []part {
		return []part{{"job", "", "", strings.Replace(ping, "{", `{"attachments":`+items+`,`, 1)}, file}
	}
	for name, c := range map[string]struct {
		parts    []part
		status   int
		sentence string
	}{
		"no job":                    {[]part{file}, 400, `the first part of the form is "file"`},
		"no parts":                  {nil, 400, "ended early"},
		"a job behind a file":       {[]part{file, submission}, 400, "first part"},
		"a job that is no JSON":     {[]part{{"job", "", "", "x"}, file}, 400, `the part "job" is not a JSON object`},
		"an empty job":              {[]part{{"job", "", "", " "}, file}, 400, `the part "job" is empty`},
		"a job of nothing":          {[]part{{"job", "", "", "{}"}, file}, 422, "at least one criterion"},
		"a job that is too large":   {[]part{{"job", "", "", ping + strings.Repeat(" ", 2<<20)}, file}, 413, "larger than 5000 bytes"},
		"a part that is no file":    {[]part{submission, {"more", "", "", "x"}}, 400, `the part "more" of the form has no file name`},
		"two files of one name":     {[]part{submission, file, file}, 422, `attachments/1/name is "a", as that of another one is`},
		"a name of a folder up":     {[]part{submission, {"file", "..", "", ""}}, 422, "is no name of a file"},
		"a name with a backslash":   {[]part{submission, {"file", `a\\b`, "", ""}}, 422, "has a folder in it"},
		"a name of another reading": {[]part{submission, {"file", "a\u202eb", "", ""}}, 422, "control characters"},
		"a name that is too long":   {[]part{submission, {"file", strings.Repeat("n", 201), "", ""}}, 422, "too long"},
		"files that are too large":  {[]part{submission, {"file", "a", "", strings.Repeat("a", 3000)}, {"file", "b", "", strings.Repeat("b", 3000)}}, 413, "larger than 5000 bytes"},
		"too many files":            {many, 422, "attachments are 101; a job may have 100"},
		"no list":                   {list(`{}`), 400, "attachments is an object; it must be a list"},
		"a list of texts":           {list(`["a"]`), 400, "attachments/0 is a string; it must be an object"},
		"no digest":                 {list(`[{"name":"a"}]`), 422, "attachments/0/sha256"},
		"an odd digest":             {list(`[{"name":"a","sha256":"` + strings.Repeat("G", 64) + `"}]`), 422, "attachments/0/sha256"},
		"no name":                   {list(`[{"sha256":"` + sum + `"}]`), 422, "attachments/0/name is empty"},
		"a name with a folder":      {list(`[{"name":"a/b","sha256":"` + sum + `"}]`), 422, "attachments/0/name has a folder in it"},
		"the name of a file":        {list(`[{"name":"a","sha256":"` + sum + `"}]`), 422, `attachments/1/name is "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			s := serve(t, f, func(c *api.Config) { c.Limits.Upload = 5000 })
			body, kind := form(t, c.parts...)
			a := s.do(t, "POST", "/api/v1/job", body, kind)
			checkProblem(t, a, c.status, c.sentence)
			if len(f.jobs) != 0 {
				t.Error("a job was submitted, want none")
			}
		})
	}
}

func TestFormsThatEndEarly(t *testing.T) {
	body, kind := form(t, part{"job", "", "", ping}, part{"file", "a", "", "0123456789"})
	for _, n := range []int{0, 50, len(body) / 2, len(body) - 100, len(body) - 20} {
		f := newFake()
		a := serve(t, f).do(t, "POST", "/api/v1/job", body[:n], kind)
		if a.StatusCode != http.StatusBadRequest || len(f.jobs) != 0 {
			t.Errorf("%d bytes of %d: status %d with %d jobs, want 400 and none; %s", n, len(body), a.StatusCode, len(f.jobs), a.text)
		}
	}
	checkProblem(t, serve(t, newFake()).do(t, "POST", "/api/v1/job", body, "Content-Type: multipart/form-data"), 400, "boundary")
}
