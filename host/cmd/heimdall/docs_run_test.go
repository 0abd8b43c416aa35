package main_test

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"
)

// startDocHost runs the shipped host on a free port until the test ends, and
// returns its address. The configuration is a path in the repository.
func startDocHost(t *testing.T, config string, flags ...string) string {
	t.Helper()
	address, _ := startLoggedHost(t, config, flags...)
	return address
}

// startLoggedHost does the same, and returns the file of the host's log too.
func startLoggedHost(t *testing.T, config string, flags ...string) (address, logFile string) {
	t.Helper()
	data := shortTempDir(t)
	log, err := os.Create(filepath.Join(data, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := exec.Command("bin/heimdall", append([]string{"server", "--config", config}, flags...)...)
	c.Dir, c.Stdout, c.Stderr = checkout, log, log
	c.Env = append(os.Environ(), "HEIMDALL_DATA_DIR="+data, "HEIMDALL_SERVER_LISTEN=127.0.0.1:0")
	if err := c.Start(); err != nil {
		t.Fatalf("%v; run make build", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = c.Wait() // ProcessState says how
		close(exited)
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-exited
		if !c.ProcessState.Success() {
			t.Errorf("the host ended with %v", c.ProcessState)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the host said:\n%s", text)
		}
	})
	err = until("the start of the host", func() bool {
		text, _ := os.ReadFile(filepath.Join(data, "address"))
		if address = strings.TrimSpace(string(text)); address == "" {
			return false
		}
		answer, err := http.Get(address + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if err != nil {
		t.Fatal(err)
	}
	return address, log.Name()
}

// shortTempDir returns a folder whose path leaves room for sockets.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// sh runs the lines of a block in the repository, against a host, and returns
// what they print.
func sh(t *testing.T, b block, address, id string, want int) string {
	t.Helper()
	c := exec.Command("sh", "-e", "-c", b.text)
	c.Dir = checkout
	c.Env = append(os.Environ(), "HEIMDALL_SERVER="+address, "ID="+id)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != want {
		t.Errorf("line %d: got exit code %d, want %d:\n%s\n%s", b.line, got, want, b.text, out)
	}
	return string(out)
}

// curl does what a curl command does, without curl. It knows what the pages use.
func curl(t *testing.T, command, address, id string) (status int, answer []byte) {
	t.Helper()
	command = strings.NewReplacer(written, address, "$ID", id).Replace(command)
	method, target, body, header := "", "", "", make(http.Header)
	words := split(command)
	next := func() (word string) {
		if len(words) > 0 {
			word, words = words[0], words[1:]
		}
		return word
	}
	if next() != "curl" {
		t.Fatalf("this is no curl command: %s", command)
	}
	for len(words) > 0 {
		switch word := next(); word {
		case "-X":
			method = next()
		case "-H":
			name, value, _ := strings.Cut(next(), ":")
			header.Set(name, strings.TrimSpace(value))
		case "-d", "--data-binary":
			body = next()
			if header.Get("Content-Type") == "" {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		case "-F":
			var kind string
			body, kind = formField(t, body, next())
			header.Set("Content-Type", kind)
		case "-r":
			header.Set("Range", "bytes="+next())
		case "-N":
		default:
			if strings.HasPrefix(word, "-") || target != "" {
				t.Fatalf("what does %s mean in %s", word, command)
			}
			target = word
		}
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

// split takes a command apart into words as a shell does, as far as quotes and
// escaped newlines go.
func split(command string) (words []string) {
	var word strings.Builder
	var quote rune
	begun := false
	for _, r := range strings.ReplaceAll(command, "\\\n", " ") {
		switch {
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case r == quote && quote != 0:
			quote = 0
		case quote == 0 && unicode.IsSpace(r):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// boundary parts the fields of a form.
const boundary = "the-boundary"

// formField adds to a form what curl's -F says: a name and a text, which may be those
// of a file.
func formField(t *testing.T, form, field string) (longer, contentType string) {
	t.Helper()
	name, text, _ := strings.Cut(field, "=")
	header := textproto.MIMEHeader{}
	disposition := map[string]string{"name": name}
	words := strings.Split(text, ";")
	for _, word := range words[1:] {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "filename":
			disposition[key] = value
		case "type":
			header.Set("Content-Type", value)
		default:
			t.Fatalf("what does %s mean in -F %s", word, field)
		}
	}
	header.Set("Content-Disposition", mime.FormatMediaType("form-data", disposition))
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(form, "--"+boundary+"--\r\n"))
	fmt.Fprintf(&b, "--%s\r\n", boundary)
	for key, values := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", key, values[0])
	}
	fmt.Fprintf(&b, "\r\n%s\r\n--%s--\r\n", words[0], boundary)
	return b.String(), "multipart/form-data; boundary=" + boundary
}
