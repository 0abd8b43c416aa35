package canary_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/canary"
	"github.com/heimdall-run/heimdall/host/internal/pgtest"
)

func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func percent(text string) (escaped string) {
	for _, b := range []byte(text) {
		escaped += fmt.Sprintf("%%%02X", b)
	}
	return escaped
}

func unicode(text string) (escaped string) {
	for _, b := range []byte(text) {
		escaped += fmt.Sprintf(`\u%04x`, b)
	}
	return escaped
}

func TestFind(t *testing.T) {
	t.Parallel()
	secret := canary.Secret("x")
	asJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"as it is":               "a " + secret,
		"in JSON":                string(asJSON),
		"in JSON, all escaped":   unicode(secret),
		"in a query":             url.QueryEscape(secret),
		"in a query, all":        percent(secret),
		"in base64":              base64.StdEncoding.EncodeToString([]byte(secret)),
		"in base64 behind one":   base64.StdEncoding.EncodeToString([]byte("a" + secret)),
		"in base64 behind two":   base64.RawURLEncoding.EncodeToString([]byte("ab" + secret)),
		"in hex":                 hex.EncodeToString([]byte(secret)),
		"in large hex":           fmt.Sprintf("%X", secret),
		"packed":                 "before" + pack(secret) + "behind",
		"packed twice":           pack(pack("a" + secret)),
		"in base64, then packed": pack(base64.StdEncoding.EncodeToString([]byte(secret))),
	} {
		if err := canary.Find([]byte(text)); err == nil {
			t.Errorf("%s: nothing is found in %q", name, text)
		}
	}
	if err := canary.Find([]byte("nothing secret, %41 \\u0041 " + pack("nothing"))); err != nil {
		t.Errorf("where there is none: %v", err)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	for name, file := range map[string][2]string{
		"in a file": {"a", pack(canary.Secret("x"))},
		"in a name": {canary.Word, ""},
	} {
		folder := t.TempDir()
		if err := canary.Folder(folder); err != nil {
			t.Errorf("%s: before: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, file[0]), []byte(file[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if canary.Folder(folder) == nil {
			t.Errorf("%s: nothing is found", name)
		}
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	for driver, at := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "heimdall.db"), "pgx": pgtest.URL(t)} {
		db, err := sql.Open(driver, at)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		column := map[string]string{"sqlite": "BLOB", "pgx": "BYTEA"}[driver]
		for _, statement := range []string{`CREATE TABLE "a" (n INTEGER, t TEXT, b ` + column + `)`, `INSERT INTO a VALUES (1, NULL, NULL)`} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := canary.Database(t.Context(), at); err != nil {
			t.Errorf("%s, before: %v", driver, err)
		}
		for value, column := range map[string]string{canary.Secret("x"): "t", pack(canary.Secret("x")): "b"} {
			var of any = value
			if column == "b" {
				of = []byte(value)
			}
			if _, err := db.ExecContext(t.Context(), `INSERT INTO a (n, `+column+`) VALUES (2, $1)`, of); err != nil {
				t.Fatal(err)
			}
			if canary.Database(t.Context(), at) == nil {
				t.Errorf("%s: nothing is found in column %s", driver, column)
			}
			if _, err := db.ExecContext(t.Context(), `DELETE FROM a WHERE n = 2`); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			w.Header().Set("X-Said", canary.Word)
		case "/body":
			fmt.Fprint(w, canary.Secret("x"))
		}
	}))
	defer server.Close()
	if err := canary.Answers(server.URL, "ann", "/"); err != nil {
		t.Errorf("where there is none: %v", err)
	}
	for _, path := range []string{"/header", "/body"} {
		if canary.Answers(server.URL, "ann", "/", path) == nil {
			t.Errorf("%s: nothing is found", path)
		}
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	binary, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	run := func(arguments, environment []string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", append([]string{"-c", `sleep 60 & echo; wait`}, arguments...)...)
		cmd.Env = environment
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _, _ = cmd.Process.Wait() })
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	secret := []string{"A=" + canary.Secret("x")}
	for name, c := range map[string]struct {
		cmd      *exec.Cmd
		binaries string
		found    bool
	}{
		"nothing":                        {run(nil, nil), binary, false},
		"an argument":                    {run(secret, nil), binary, true},
		"the environment of a child":     {run(nil, secret), binary, true},
		"the environment of what may be": {run(nil, secret), "/nowhere/", false},
	} {
		err := canary.Processes(c.cmd.Process.Pid, c.binaries)
		for deadline := time.Now().Add(10 * time.Second); c.found && err == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // the child has to become what it is
			err = canary.Processes(c.cmd.Process.Pid, c.binaries)
		}
		if (err != nil) != c.found {
			t.Errorf("%s: found %v, want %t", name, err, c.found)
		}
	}
}
