package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func TestSubmitWithFiles(t *testing.T) {
	c := scripted(t, map[string]http.HandlerFunc{"POST /api/v1/job": func(w http.ResponseWriter, r *http.Request) {
		form, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		var got []string
		for part, err := form.NextPart(); err != io.EOF; part, err = form.NextPart() {
			if err != nil {
				t.Error(err)
				return
			}
			content, err := io.ReadAll(part)
			if err != nil {
				t.Error(err)
			}
			got = append(got, part.FormName()+" "+part.FileName()+" "+part.Header.Get("Content-Type")+" "+string(content))
		}
		want := []string{
			`job  application/json {"command_criteria":["a"],"attachments":[{"name":"old","sha256":"ab"}]}`,
			"file näme \"1\".csv text/csv a,b", "file empty application/octet-stream ",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the form has %q, want %q", got, want)
		}
		says(http.StatusAccepted, "application/json", `{"id":"7","attachments":[{"name":"old","bytes":3,"sha256":"ab"}]}`)(w, r)
	}})
	j, err := c.Submit(t.Context(), client.Submission{
		CommandCriteria: []string{"a"}, Attachments: []client.Attachment{{Name: "old", SHA256: "ab"}},
		Files: []client.File{{Name: `näme "1".csv`, ContentType: "text/csv", Content: strings.NewReader("a,b")}, {Name: "empty", Content: strings.NewReader("")}},
	})
	if err != nil || j.ID != "7" || len(j.Attachments) != 1 || j.Attachments[0].Bytes != 3 {
		t.Errorf("Submit = %+v, %v, want job 7 with its file", j, err)
	}
}

func TestSubmitWithFilesThatFail(t *testing.T) {
	broken := errors.New("the disk is broken")
	c := scripted(t, map[string]http.HandlerFunc{"POST /api/v1/job": func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("the form has come whole, want that it breaks off")
		}
		panic(http.ErrAbortHandler)
	}})
	s := client.Submission{CommandCriteria: []string{"a"}, Files: []client.File{{Name: "f", Content: iotest.ErrReader(broken)}}}
	if _, err := c.Submit(t.Context(), s); !errors.Is(err, broken) || !strings.Contains(err.Error(), `"f"`) {
		t.Errorf("Submit = %v, want which file could not be read, and why", err)
	}

	// Who answers before all is read is heard.
	c = scripted(t, map[string]http.HandlerFunc{"POST /api/v1/job": says(http.StatusRequestEntityTooLarge, "application/problem+json", `{"error":"too large"}`)})
	s.Files[0].Content = io.LimitReader(endless{}, 1<<20)
	if _, err := c.Submit(t.Context(), s); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Submit = %v, want what the host says", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestUpload(t *testing.T) {
	answer := `{"bytes":3,"sha256":"ab"}`
	c := scripted(t, map[string]http.HandlerFunc{
		"PUT /api/v1/attachment/ab": func(w http.ResponseWriter, r *http.Request) {
			if content, err := io.ReadAll(r.Body); err != nil || string(content) != "abc" {
				t.Errorf("got %q, %v, want abc", content, err)
			}
			says(http.StatusCreated, "application/json", answer)(w, r)
		},
		"GET /api/v1/attachment/ab":           says(http.StatusOK, "application/json", answer),
		"GET /api/v1/attachment/cd":           says(http.StatusNotFound, "application/problem+json", `{"error":"no"}`),
		"GET /api/v1/job/7/attachments/a%20b": says(http.StatusOK, "application/octet-stream", "abc"),
	})
	if a, err := c.Upload(t.Context(), "ab", strings.NewReader("abc")); err != nil || a.Bytes != 3 {
		t.Errorf("Upload = %+v, %v, want 3 bytes", a, err)
	}
	if a, err := c.Uploaded(t.Context(), "ab"); err != nil || a.SHA256 != "ab" {
		t.Errorf("Uploaded = %+v, %v, want that it is there", a, err)
	}
	if _, err := c.Uploaded(t.Context(), "cd"); !client.IsNotFound(err) {
		t.Errorf("Uploaded = %v, want that it is not there", err)
	}
	content, err := c.JobAttachment(t.Context(), "7", "a b")
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if text, err := io.ReadAll(content); err != nil || string(text) != "abc" {
		t.Errorf("the file is %q, %v, want abc", text, err)
	}
}
