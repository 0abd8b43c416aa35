// Package checkreport is the report of a check of a plugin's binary: what the
// check writes, operators put beside the binary, and a host may ask for before
// it lets the build work.
package checkreport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is the number of the form that reports have.
const Format = 1

// Suffix follows the name of a binary in the name of its report.
const Suffix = ".check.json"

// Report is what a check found.
type Report struct {
	Format      int       `json:"format"`
	Plugin      string    `json:"plugin"`       // name of the plugin
	Version     string    `json:"version"`      // that the plugin described
	SHA256      string    `json:"sha256"`       // of the binary, small hexadecimal digits
	HostVersion string    `json:"host_version"` // of whoever checked
	Time        time.Time `json:"time"`
	Partial     bool      `json:"partial,omitempty"` // only some cases were asked for
	Passed      bool      `json:"passed"`            // no case failed, and at least one passed
	Counts      Counts    `json:"counts"`
	Cases       []Case    `json:"cases"`
}

// Counts is how many cases had which result.
type Counts struct {
	Passed       int `json:"passed"`
	Failed       int `json:"failed"`
	NotExercised int `json:"not_exercised"`
}

// Case is one thing that must hold, and whether it does.
type Case struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	Title  string `json:"title"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"` // what was seen instead, or why nothing was
	MS     int64  `json:"ms"`
}

// Result is the result of a case.
type Result string

// The results of cases.
const (
	Passed       Result = "passed"
	Failed       Result = "failed"
	NotExercised Result = "not exercised" // it says nothing about the plugin
)

// Conclude counts the cases and says whether the plugin passed.
func (r *Report) Conclude() {
	r.Counts = count(r.Cases)
	r.Passed = r.Counts.Failed == 0 && r.Counts.Passed > 0
}

// Read reads a report and refuses one that contradicts itself.
func Read(text []byte) (*Report, error) {
	report := &Report{}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(report); err != nil {
		return nil, fmt.Errorf("report of a check: it is not JSON as the check writes it: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("report of a check: there is more behind it")
	}
	if report.Format != Format {
		return nil, fmt.Errorf("report of a check: it has format %d, and this host reads format %d", report.Format, Format)
	}
	seen := map[string]bool{}
	for _, c := range report.Cases {
		switch {
		case c.ID == "" || seen[c.ID]:
			return nil, fmt.Errorf("report of a check: case %q is there twice or has no id", c.ID)
		case c.Result != Passed && c.Result != Failed && c.Result != NotExercised:
			return nil, fmt.Errorf("report of a check: case %s has the unknown result %q", c.ID, c.Result)
		}
		seen[c.ID] = true
	}
	again := Report{Cases: report.Cases}
	again.Conclude()
	if again.Counts != report.Counts || again.Passed != report.Passed {
		return nil, errors.New("report of a check: what it says in sum is not what its cases say")
	}
	return report, nil
}

// Verify reads a report and refuses one that is not about the binary of a digest,
// that leaves out cases, or that says that the binary failed.
func Verify(text []byte, digest string) (*Report, error) {
	report, err := Read(text)
	switch {
	case err != nil:
		return nil, err
	case report.SHA256 != digest:
		return nil, fmt.Errorf("report of a check: it is about another binary, with sha256 %.12s…, and this one has %.12s…: check this one", report.SHA256, digest)
	case report.Partial:
		return nil, errors.New("report of a check: only some cases were asked for: check the binary with all")
	case report.Counts.Passed+report.Counts.Failed == 0:
		return nil, errors.New("report of a check: no case was exercised: check the binary with examples")
	case !report.Passed:
		return nil, fmt.Errorf("report of a check: the binary failed it in %d of %d cases, first in %s", report.Counts.Failed, len(report.Cases), firstFailed(report.Cases))
	}
	return report, nil
}

func count(cases []Case) (c Counts) {
	for i := range cases {
		switch cases[i].Result {
		case Passed:
			c.Passed++
		case Failed:
			c.Failed++
		default:
			c.NotExercised++
		}
	}
	return c
}

func firstFailed(cases []Case) string {
	for i := range cases {
		if cases[i].Result == Failed {
			return cases[i].ID
		}
	}
	return ""
}
