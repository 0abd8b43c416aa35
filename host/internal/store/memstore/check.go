package memstore

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// maxIndexed is the length of the longest text that jobs are found by, bytes.
const maxIndexed = 1000

// checkText refuses text that PostgreSQL cannot keep.
func checkText(name string, texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return errs.Errorf(errs.Invalid, "%s is not text: %.40q", name, text)
		}
	}
	return nil
}

func checkID(id job.ID) error {
	if parsed, err := job.ParseID(string(id)); err != nil || parsed != id {
		return errs.Errorf(errs.Invalid, "%.60q is not a job id", string(id))
	}
	return nil
}

func checkLeases(leases []job.Lease) error {
	for _, l := range leases {
		if err := checkID(l.JobID); err != nil {
			return err
		}
	}
	return nil
}

func checkJob(j *job.Job) error {
	if err := checkID(j.ID); err != nil {
		return err
	}
	for _, raw := range []json.RawMessage{j.Context, j.Resolution} {
		if len(raw) > 0 && !json.Valid(raw) {
			return errs.Errorf(errs.Invalid, "the context or the resolution is not JSON")
		}
	}
	indexed := append([]string{
		j.User, j.Name, j.Version, j.Pair.CommandID, j.Pair.CommandName, j.Pair.ClusterID, j.Pair.ClusterName,
	}, j.Tags...)
	for _, text := range indexed {
		if len(text) > maxIndexed {
			return errs.Errorf(errs.Invalid, "%.40q… is longer than %d bytes", text, maxIndexed)
		}
	}
	texts := append([]string{string(j.Context), string(j.Resolution), j.Description}, j.CommandCriteria...)
	for _, set := range j.ClusterCriteria {
		texts = append(texts, set...)
	}
	return checkText("a field of the job", append(indexed, texts...)...)
}

func checkEnd(e job.End) error {
	if err := checkID(e.JobID); err != nil {
		return err
	}
	if !e.Status.Final() {
		return errs.Errorf(errs.Internal, "job %s cannot end as %q", e.JobID, e.Status)
	}
	texts := []string{e.HostID, e.Build, e.Logs.Stdout, e.Logs.Stderr}
	if e.Result != nil {
		texts = append(texts, e.Result.ContentType, e.Result.Object)
	}
	return checkText("a field of the end", texts...)
}
