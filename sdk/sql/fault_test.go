package sql_test

import (
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/sql"
)

func TestClassOf(t *testing.T) {
	for state, want := range map[string]sdk.Class{
		"42601": sdk.Invalid, "42501": sdk.Denied, "28P01": sdk.Denied, "25006": sdk.Denied, "22012": sdk.Failed, "23505": sdk.Failed,
		"40001": sdk.Transient, "40P01": sdk.Transient, "53300": sdk.Unavailable, "57P01": sdk.Unavailable, "57014": sdk.Timeout, "08006": sdk.Unavailable,
		"3D000": sdk.Internal, "": sdk.Failed, "ZZZZZ": sdk.Failed, "4": sdk.Failed,
	} {
		if got := sql.ClassOf(state); got != want {
			t.Errorf("ClassOf(%q) = %s, want %s", state, got, want)
		}
	}
}

func TestFault(t *testing.T) {
	long := strings.Repeat("x", 100) + "!" + strings.Repeat("y", 100)
	for _, c := range []struct {
		fault sql.Fault
		want  string
	}{
		{sql.Fault{Message: "no"}, "no"},
		{sql.Fault{State: "42601", Message: "no", Query: "a\nbé c", Position: 5, Detail: "more", Hint: "do"}, "no at line 2, column 3: bé c; more; do (SQLSTATE 42601)"},
		{sql.Fault{Message: "no", Query: "ab", Position: 3}, "no at line 1, column 3: ab"},
		{sql.Fault{Message: "no", Query: "ab", Position: 99}, "no at line 1, column 3: ab"},
		{sql.Fault{Message: "no", Query: "a\n\n", Position: 3}, "no at line 2, column 1"},
		{sql.Fault{Message: "no", Query: long, Position: 101}, "no at line 1, column 101: …" + strings.Repeat("x", 20) + "!" + strings.Repeat("y", 38) + "…"},
		{sql.Fault{Message: "no", Position: 5}, "no"},
	} {
		if got := c.fault.JobError(); got.Error() != c.want {
			t.Errorf("%+v: got %q, want %q", c.fault, got.Error(), c.want)
		}
	}
}

func TestTag(t *testing.T) {
	tag := sql.Tag{JobID: "018f", Attempt: 2, User: "ann'; drop--ü\n@x.org"}
	if got, want := tag.String(), "heimdall job=018f attempt=2 user=ann???drop--??@x.org"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzFault(f *testing.F) {
	f.Add("select\n1", 3)
	f.Fuzz(func(t *testing.T, query string, position int) {
		if text := (sql.Fault{Message: "m", Query: query, Position: position}).JobError().Error(); !strings.HasPrefix(text, "m") || len(text) > 1000 {
			t.Errorf("got %q", text)
		}
	})
}
