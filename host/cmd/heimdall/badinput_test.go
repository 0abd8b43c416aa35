package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/pgtest"
)

// badRequests is how many are sent to each host.
const badRequests = 5000

// Whatever is sent, the host answers that it was not understood, or what it is
// about: it makes no mistake, and nothing is changed.
func TestBadInput(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { sendBadInput(t, "sqlite") })
	t.Run("postgres", func(t *testing.T) { sendBadInput(t, pgtest.URL(t)) })
}

func sendBadInput(t *testing.T, store string) {
	address, logFile := startLoggedHost(t, "configs/heimdall.toml", "--store", store)
	ids := make([]string, 3)
	for i := range ids {
		status, answer := curl(t, `curl -X POST -H "X-Heimdall-User: ann" `+written+`/api/v1/job -d '{"name": "kept", "command_criteria": ["type:ping"]}'`, address, "")
		var j struct{ ID string }
		if err := json.Unmarshal(answer, &j); err != nil || status != http.StatusOK {
			t.Fatalf("got %d: %s", status, answer)
		}
		ids[i] = j.ID
	}
	before := jobsOf(t, address)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	numbers := make(chan uint64)
	var senders sync.WaitGroup
	answers := make([]atomic.Int64, 600) // by status
	for range 8 {
		senders.Go(func() {
			for n := range numbers {
				g := &badInput{Rand: rand.New(rand.NewPCG(seed, n)), ids: ids}
				sent := g.request()
				status, fault := send(address, sent)
				answers[status].Add(1)
				if fault != "" {
					t.Errorf("seed %d, request %d: %s\n%.600q", seed, n, fault, sent)
				}
			}
		})
	}
	for n := range uint64(badRequests) {
		numbers <- n
	}
	close(numbers)
	senders.Wait()
	// They are bad in many ways, and go deep.
	for _, status := range []int{200, 206, 304, 400, 401, 403, 404, 405, 413, 415, 416, 422, 431} {
		if answers[status].Load() == 0 {
			t.Errorf("seed %d: no request was answered %d", seed, status)
		}
	}
	if after := jobsOf(t, address); after != before {
		t.Errorf("the jobs were\n%s\nand are\n%s", before, after)
	}
	log, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"panic", "goroutine ", "ended in an error"} {
		if at := strings.Index(string(log), word); at >= 0 {
			t.Errorf("the log has %q: %.300s", word, log[at:])
		}
	}
}

// jobsOf returns the list of all jobs.
func jobsOf(t *testing.T, address string) string {
	t.Helper()
	status, list := curl(t, `curl -H "X-Heimdall-User: ann" `+written+"/api/v1/jobs?limit=100", address, "")
	if status != http.StatusOK {
		t.Fatalf("got %d: %s", status, list)
	}
	return string(list)
}

// send sends text to the host as it is, and returns the status of the answer and
// what is wrong with it. To cut the connection is an answer to what is no request.
func send(address, text string) (status int, fault string) {
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		return 0, err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(c, text)
	// More of a body may seem to come, and nothing does. To the host, the client is
	// gone then.
	gone := strings.Contains(text, "Content-Length:") || strings.Contains(text, "Transfer-Encoding:") || !strings.Contains(text, "HTTP/")
	if err == nil && gone {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	method, _, _ := strings.Cut(text, " ")
	answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return 0, "no answer in time"
	}
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	status = answer.StatusCode
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return 0, ""
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return status, "" // by the server, of what is no HTTP that it knows
	case status == http.StatusServiceUnavailable && gone:
		return status, ""
	case status >= 500, status == http.StatusAccepted:
		return status, fmt.Sprintf("answered %d: %.300s", status, body)
	}
	if answer.Header.Get("Content-Type") != "application/problem+json" || method == "HEAD" {
		return status, ""
	}
	var problem struct{ Error, Detail string }
	if err := json.Unmarshal(body, &problem); err != nil || problem.Error == "" || problem.Error != problem.Detail {
		return status, fmt.Sprintf("answered %d with no problem: %.300s", status, body)
	}
	return status, ""
}

// badInput makes requests that nobody means.
type badInput struct {
	*rand.Rand
	ids []string // of jobs that have ended
}

// one picks one of several texts.
func (g *badInput) one(texts ...string) string { return texts[g.IntN(len(texts))] }

// odd returns text that few programs like.
func (g *badInput) odd() string {
	switch g.IntN(12) {
	case 0:
		return strings.Repeat("A", 1<<g.IntN(17))
	case 1:
		b := make([]byte, g.IntN(64))
		for i := range b {
			b[i] = byte(g.Uint32())
		}
		return string(b)
	case 2:
		return strings.Repeat("%00", 1+g.IntN(5))
	}
	return g.one(
		"", "%", "%ff%fe", "%u0000", "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", `..\..\x`, "/", "//", ".", "null", "-1", "0", "1e999",
		"99999999999999999999", "NaN", "' OR 1=1 --", "'; DROP TABLE job; --", `"); SELECT pg_sleep(9); --`, "1 UNION SELECT * FROM host", "\\", `%5c`,
		"{{.}}", "${HOME}", "<script>", "\u202e", "%e2%80%ae", "😀", "%F0%9F%98", "true", "🏳️‍🌈", "a\tb", "id;x", "a=b&c", "#", "?")
}

// value returns JSON, or what is nearly JSON.
func (g *badInput) value(depth int) string {
	if depth > 3 {
		return "1"
	}
	switch g.IntN(18) {
	case 0:
		return strings.Repeat("[", g.IntN(20000)) + strings.Repeat("]", g.IntN(200))
	case 1:
		return strings.Repeat(`{"a":`, g.IntN(300)) + "1" + strings.Repeat("}", g.IntN(300))
	case 2:
		return "1" + strings.Repeat("0", g.IntN(3000))
	case 3:
		return `"` + strings.Repeat("x", g.IntN(1<<18)) + `"`
	case 4:
		return "[" + g.value(depth+1) + "," + g.value(depth+1) + "]"
	case 5:
		return "{" + `"a":` + g.value(depth+1) + `,"a":` + g.value(depth+1) + "}"
	case 6:
		return "[" + strings.Repeat(`"t",`, g.IntN(400)) + `"u"]`
	}
	return g.one(`"\u0000"`, `"\ud800"`, "\"\xff\xfe\"", `"\x"`, `""`, `" "`, "null", "true", "-", "1e400", "1e-400", "0x10", "01", "1.5", "-0",
		`{}`, `[]`, `[[]]`, `[null]`, `[[null]]`, `"2026-13-45T99:99:99Z"`, `"9999999h"`, `"-1s"`, `"1970-01-01T00:00:00Z"`, `253402300800`, `{"attempts":1e3}`,
		`{"attempts":2,"on":["nothing"]}`, `"\u202e"`, `'a'`, "NaN", "Infinity", `"a`, "[", "{", "undefined")
}

// body returns the body of a submission that nothing fits.
func (g *badInput) body() string {
	fields := []string{
		"name", "version", "description", "context", "command_criteria", "cluster_criteria", "tags", "timeout", "retry", "priority",
		"start_after", "deadline", "unique_key", "on_disconnect", "attachments", "idempotency_key", "status", "id", "user", "canceled_by",
	}
	text := "{"
	for range g.IntN(5) {
		text += `"` + fields[g.IntN(len(fields))] + `":` + g.value(0) + ","
	}
	text += `"command_criteria":["type:nothing at all"]}`
	switch g.IntN(60) {
	case 1, 2, 3, 4, 5, 6, 7, 8: // a part of it
		text = text[:g.IntN(len(text)+1)]
	case 9, 10, 11, 12, 13, 14, 15, 16: // one byte is another one
		b := []byte(text)
		b[g.IntN(len(b))] = byte(g.Uint32())
		text = string(b)
	case 17, 18, 19, 20, 21, 22, 23, 24:
		text += g.one("{}", "x", "\x00", text, "]")
	case 25, 26, 27, 28, 29, 30, 31, 32:
		text = g.value(0)
	case 33, 34, 35, 36, 37, 38, 39, 40:
		text = g.one("\ufeff", "\xff\xfe", " ", "\n") + text
	}
	return text
}

// target returns what is asked for.
func (g *badInput) target() string {
	const base = "/api/v1"
	id := g.ids[g.IntN(len(g.ids))]
	switch g.IntN(9) {
	case 0:
		id = g.odd()
	case 1:
		id = g.one(strings.ToUpper(id), id[:35], id+"0", "{"+id+"}", "urn:uuid:"+id, strings.ReplaceAll(id, "-", ""))
	}
	query := ""
	for range g.IntN(4) {
		query += "&" + g.one("id", "name", "version", "username", "command", "cluster", "status", "tags", "limit", "cursor", "order_by", "direction",
			"wait", "tail", "follow", g.odd()) + "=" + g.one(g.odd(), g.odd(), "eyJvIjoiaWQiLCJpIjoieCJ9", "eyJ2IjoxMiwiaSI6MTJ9", "%25%5c", "id", "created_at", "asc")
	}
	path := g.one(
		base+"/job", base+"/jobs", base+"/jobs", base+"/job/"+id, base+"/job/"+id+"/status", base+"/job/"+id+"/stdout", base+"/job/"+id+"/stderr",
		base+"/job/"+id+"/result", base+"/job/"+id+"/explain", base+"/job/"+id+"/"+g.odd(), base+"/resolve", base+"/plugin/"+g.odd(), base+"/"+g.odd(),
		base+"/hosts", base+"/openapi.json", "/readyz", "/"+g.odd(), g.odd(), "*", "http://elsewhere/api/v1/jobs", base+"/job/"+id+"/cancel",
	)
	path = strings.NewReplacer(" ", "%20", "\n", "%0a", "\r", "%0d", "?", "%3f").Replace(path)
	if query != "" {
		path += "?" + strings.NewReplacer(" ", "+", "\n", "%0a", "\r", "%0d").Replace(query[1:])
	}
	return path
}

// read returns a request for a part of a result, or for one that has changed.
func (g *badInput) read() string {
	return "GET /api/v1/job/" + g.ids[0] + "/result HTTP/1.1\r\nHost: h\r\nX-Heimdall-User: ann\r\nConnection: close\r\n" +
		g.one("Range: bytes=", "Range: bytes=", "Range: chars=", "If-None-Match: ", "If-None-Match: *, ") +
		g.one("0-5", "-7", "5-1", "9999-", "9999999999999999999-", "-0", "0-1,2-3", "\"", g.odd()) + "\r\n\r\n"
}

// large returns a submission that is larger than may be.
func (g *badInput) large() string {
	body := `{"command_criteria":["type:nothing at all"],"context":{"a":"` + strings.Repeat("x", 128<<10+g.IntN(2<<20)) + `"}}`
	return fmt.Sprintf("POST /api/v1/%s HTTP/1.1\r\nHost: h\r\nX-Heimdall-User: ann\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		g.one("job", "resolve"), len(body), body)
}

// request returns a request, or what is nearly one.
func (g *badInput) request() string {
	switch g.IntN(50) {
	case 0:
		return g.odd() + "\r\n\r\n"
	case 1, 2:
		return g.read()
	case 3:
		if g.IntN(4) == 0 {
			return g.large()
		}
	}
	method := g.one("GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "get", "FOO", g.one(g.odd(), "G\x00T"))
	target := g.target()
	body := ""
	if method != "GET" && method != "HEAD" || g.IntN(10) == 0 {
		body = g.body()
	}
	if method == "POST" && g.IntN(2) == 0 {
		target = g.one("/api/v1/job", "/api/v1/job", "/api/v1/jobs", "/api/v1/resolve", "/api/v1/job?name="+"%ff")
	}
	head := method + " " + target + " " + g.one("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "") + "\r\n"
	headers := []string{"Host: h", "X-Heimdall-User: ann", "Connection: close"}
	if body != "" {
		headers = append(headers, "Content-Type: "+g.one("application/json", "application/json", "application/json", "application/x-ndjson", "application/x-ndjson", "text/xml", "multipart/form-data", "a/b/c", ";", g.odd()))
		if g.IntN(12) == 0 {
			headers = append(headers, "Transfer-Encoding: "+g.one("chunked", "gzip", "chunked, chunked", "identity"))
			body = g.one(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body), body, "zz\r\n", "fffffffffffffffff\r\nx")
		} else {
			length := len(body) // one that lies makes the body end early, or go on
			if g.IntN(8) == 0 {
				length = g.IntN(2*len(body) + 2)
			}
			headers = append(headers, fmt.Sprint("Content-Length: ", length))
		}
	}
	for range g.IntN(4) {
		headers = append(headers, g.one(
			"Range: bytes="+g.one("0-", "-0", "5-1", "9999999999999999999-", "0-1,2-3", "a-b", "-99999999999999999999", g.odd()),
			"Prefer: "+g.one("wait=abc", "wait=-1", "wait=99999999999999999999", "respond-async;;=,", g.odd()),
			"Idempotency-Key: "+g.odd(), "Idempotency-Key: a\r\nIdempotency-Key: b", "X-Request-Id: "+g.odd(), "X-Heimdall-User: bob", "X-Heimdall-User: "+g.odd(),
			"If-None-Match: "+g.odd(), "If-Range: "+g.odd(), "Accept-Encoding: "+g.one("gzip;q=x", "*;q=0", g.odd()), "Content-Encoding: "+g.one("gzip", "", g.odd()),
			"Content-Length: 5", "Content-Length: -1", "Host: other", "Expect: 100-continue", "Sec-Fetch-Site: cross-site", "Origin: "+g.odd(),
			"X-Big: "+strings.Repeat("b", g.IntN(40<<10)), "Bad Header: x", ": x", "X:"+g.odd(), strings.Repeat("X-A: a\r\n", g.IntN(300))+"X-B: b", "Upgrade: websocket",
		))
	}
	return head + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}
