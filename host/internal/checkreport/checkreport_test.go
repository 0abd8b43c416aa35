package checkreport_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heimdall-run/heimdall/host/internal/checkreport"
)

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func report(results ...checkreport.Result) *checkreport.Report {
	r := &checkreport.Report{
		Format: checkreport.Format, Plugin: "csv", Version: "1.2.3", SHA256: digest,
		HostVersion: "0.1.0", Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
	for i, result := range results {
		r.Cases = append(r.Cases, checkreport.Case{ID: string(rune('a' + i)), Group: "letters", Title: "is a letter", Result: result})
	}
	r.Conclude()
	return r
}

func text(t *testing.T, r *checkreport.Report) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReportSurvivesItsFile(t *testing.T) {
	want := report(checkreport.Passed, checkreport.NotExercised, checkreport.Passed)
	got, err := checkreport.Verify(text(t, want), digest)
	if err != nil {
		t.Fatalf("Verify = %v, want none", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the report that was read differs (-want +got):\n%s", diff)
	}
	if want := (checkreport.Counts{Passed: 2, NotExercised: 1}); got.Counts != want || !got.Passed {
		t.Errorf("got %+v, passed %t; want %+v and passed", got.Counts, got.Passed, want)
	}
}

func TestVerifyRefuses(t *testing.T) {
	change := func(f func(*checkreport.Report)) string {
		r := report(checkreport.Passed, checkreport.Passed)
		f(r)
		return string(text(t, r))
	}
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":              {"passed", "not JSON"},
		"nothing":              {"", "not JSON"},
		"an empty object":      {"{}", "format 0"},
		"more behind":          {change(func(*checkreport.Report) {}) + "{}", "more behind"},
		"a part of a check":    {change(func(r *checkreport.Report) { r.Partial = true }), "only some cases"},
		"another format":       {change(func(r *checkreport.Report) { r.Format = 2 }), "format 2"},
		"another binary":       {change(func(r *checkreport.Report) { r.SHA256 = "00" }), "another binary"},
		"a failed case":        {string(text(t, report(checkreport.Passed, checkreport.Failed))), "1 of 2 cases, first in b"},
		"no case that passed":  {string(text(t, report(checkreport.NotExercised))), "no case was exercised"},
		"no cases":             {string(text(t, report())), "no case was exercised"},
		"passed, so it says":   {strings.Replace(string(text(t, report(checkreport.Failed))), `"passed":false`, `"passed":true`, 1), "in sum"},
		"counts that are made": {change(func(r *checkreport.Report) { r.Counts.Passed = 60 }), "in sum"},
		"a case twice":         {change(func(r *checkreport.Report) { r.Cases[1].ID = "a" }), `"a" is there twice`},
		"an unknown result":    {change(func(r *checkreport.Report) { r.Cases[0].Result = "fine" }), `unknown result "fine"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := checkreport.Verify([]byte(test.text), digest)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Verify = %v, want an error with %q", err, test.want)
			}
		})
	}
}
