package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/api"
	"github.com/heimdall-run/heimdall/host/internal/job"
)

// talk opens a connection to a server of the handler's, in a bubble where time
// passes as soon as nothing else can.
func talk(t *testing.T, f *fake, say func(client net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		s := api.NewServer("", api.New(api.Config{Jobs: f, Auth: believer{}}))
		client, server := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.Serve(&oneConn{conn: server, closed: make(chan struct{})}) }()
		say(client)
		_ = client.Close()
		_ = s.Close()
		<-served
	})
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func TestBodyThatNeverComes(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		status  int
		want    string
	}{
		"of a submit":       {"POST /api/v1/job HTTP/1.1\r\nX-Heimdall-User: etl", http.StatusBadRequest, "in time"},
		"of a cancel":       {"POST /api/v1/job/" + unknown + "/cancel HTTP/1.1\r\nX-Heimdall-User: etl", http.StatusNotFound, "no job"},
		"without user":      {"POST /api/v1/job HTTP/1.1", http.StatusUnauthorized, "no user"},
		"of nothing at all": {"GET /nothing HTTP/1.1", http.StatusNotFound, "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			talk(t, newFake(), func(client net.Conn) {
				begun := time.Now()
				go func() {
					_, _ = io.WriteString(client, c.request+"\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
				}()
				answer, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(answer.Body)
				if answer.StatusCode != c.status || !strings.Contains(string(text), c.want) {
					t.Errorf("answer = %d %s, want %d and %q", answer.StatusCode, text, c.status, c.want)
				}
				if took := time.Since(begun); took > time.Minute {
					t.Errorf("took %v, want less than a minute", took)
				}
			})
		})
	}
}

// A job may take longer than its body was allowed to.
func TestWaitIsNotBoundedByTheBody(t *testing.T) {
	f := newFake()
	f.sync = true
	talk(t, f, func(client net.Conn) {
		go func() {
			_, _ = io.WriteString(client, "POST /api/v1/job HTTP/1.1\r\nHost: x\r\nX-Heimdall-User: etl\r\nContent-Length: 27\r\n\r\n{\"command_criteria\": [\"a\"]}")
			id := <-f.waiting
			time.Sleep(time.Hour)
			f.end(id, func(j *job.Job) { j.Status = job.Succeeded })
		}()
		answer, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("answer = %+v, %v, want 200", answer, err)
		}
	})
}

// A small answer is not waited for for ever either, nor is the next request of a
// connection bounded by the time of the one before.
func TestClientThatReadsNoSmallAnswer(t *testing.T) {
	const ask = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	talk(t, newFake(), func(client net.Conn) {
		answers := bufio.NewReader(client)
		for range 3 {
			if _, err := io.WriteString(client, ask); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(answers, nil)
			if err == nil {
				_, err = io.ReadAll(answer.Body)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Second)
		}
		if _, err := io.WriteString(client, ask); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n, err := client.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came after ten minutes, want the connection cut", n)
		}
	})
}

// A client that waits to be told to send its body is told so on a connection that had an
// answer long ago.
func TestExpectOnAnOldConnection(t *testing.T) {
	f := newFake()
	talk(t, f, func(client net.Conn) {
		answers := bufio.NewReader(client)
		read := func(want int) {
			t.Helper()
			answer, err := http.ReadResponse(answers, nil)
			if err == nil {
				_, err = io.ReadAll(answer.Body)
			}
			if err != nil || answer.StatusCode != want {
				t.Fatalf("answer = %+v, %v, want %d", answer, err, want)
			}
		}
		if _, err := io.WriteString(client, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		read(http.StatusOK)
		time.Sleep(100 * time.Second)
		go func() {
			_, _ = io.WriteString(client, "POST /api/v1/job HTTP/1.1\r\nHost: x\r\nX-Heimdall-User: etl\r\nExpect: 100-continue\r\nContent-Length: 27\r\n\r\n")
		}()
		read(http.StatusContinue)
		go func() { _, _ = io.WriteString(client, "{\"command_criteria\": [\"a\"]}") }()
		read(http.StatusAccepted)
	})
}

func TestClientThatReadsNothing(t *testing.T) {
	f := newFake()
	for range 10 {
		f.page.Jobs = append(f.page.Jobs, &job.Job{ID: job.NewID(), Status: job.New, Request: job.Request{
			Description: strings.Repeat("x", 10<<10),
		}})
	}
	talk(t, f, func(client net.Conn) {
		if _, err := io.WriteString(client, "GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Heimdall-User: etl\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		answer, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err == nil {
			_, err = io.ReadAll(answer.Body)
		}
		if err == nil {
			t.Error("the whole answer came, want the connection cut")
		}
	})
}
