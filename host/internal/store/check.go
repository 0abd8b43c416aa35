package store

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// field is a text that a database is to keep, with its name.
type field struct{ name, text string }

// maxIndexed is the length of the longest text that jobs are found by, bytes:
// PostgreSQL's indexes take little more than twice of it.
const maxIndexed = 1000

// checkIndexed refuses text that no index can have.
func checkIndexed(fields ...field) error {
	for _, f := range fields {
		if len(f.text) > maxIndexed {
			return errs.Errorf(errs.Invalid, "%s is longer than %d bytes", f.name, maxIndexed)
		}
	}
	return checkText(fields...)
}

// checkText refuses text that PostgreSQL cannot keep, on either database.
func checkText(fields ...field) error {
	for _, f := range fields {
		if !utf8.ValidString(f.text) {
			return errs.Errorf(errs.Invalid, "%s is not UTF-8", f.name)
		}
		if strings.IndexByte(f.text, 0) >= 0 {
			return errs.Errorf(errs.Invalid, "%s has a NUL character", f.name)
		}
	}
	return nil
}

func checkJSON(name string, raw json.RawMessage) error {
	if len(raw) > 0 && !json.Valid(raw) {
		return errs.Errorf(errs.Invalid, "%s is not JSON", name)
	}
	return checkText(field{name, string(raw)})
}

// checkID refuses an id that is not one as job.ParseID writes it.
func checkID(id job.ID) error {
	if parsed, err := job.ParseID(string(id)); err != nil || parsed != id {
		return errs.Errorf(errs.Invalid, "%.60q is not a job id", string(id))
	}
	return nil
}

func checkJob(j *job.Job) error {
	if err := checkID(j.ID); err != nil {
		return err
	}
	if err := checkJSON("context", j.Context); err != nil {
		return err
	}
	if err := checkJSON("resolution", j.Resolution); err != nil {
		return err
	}
	indexed := []field{
		{"user", j.User},
		{"name", j.Name},
		{"version", j.Version},
		{"command id", j.Pair.CommandID},
		{"command name", j.Pair.CommandName},
		{"cluster id", j.Pair.ClusterID},
		{"cluster name", j.Pair.ClusterName},
	}
	for _, t := range j.Tags {
		indexed = append(indexed, field{"tags", t})
	}
	if err := checkIndexed(indexed...); err != nil {
		return err
	}
	fields := []field{{"description", j.Description}}
	for _, t := range j.CommandCriteria {
		fields = append(fields, field{"command criteria", t})
	}
	for _, set := range j.ClusterCriteria {
		for _, t := range set {
			fields = append(fields, field{"cluster criteria", t})
		}
	}
	return checkText(fields...)
}

// legible returns text with what PostgreSQL cannot keep replaced: it is for people,
// and an end must not fail because a plugin has died with odd last words.
func legible(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// checkEnd refuses an end that cannot be recorded. Errors and outputs are kept as
// JSON, which has a way to write any text.
func checkEnd(e job.End) error {
	if err := checkID(e.JobID); err != nil {
		return err
	}
	if !e.Status.Final() {
		return errs.Errorf(errs.Internal, "job %s cannot end as %q", e.JobID, e.Status)
	}
	fields := []field{
		{"host", e.HostID},
		{"build", e.Build},
		{"stdout key", e.Logs.Stdout},
		{"stderr key", e.Logs.Stderr},
	}
	if e.Result != nil {
		fields = append(fields, field{"result type", e.Result.ContentType}, field{"result object", e.Result.Object})
	}
	return checkText(fields...)
}
