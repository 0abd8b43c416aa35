package pluginhost_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// wild is a way to run an attempt that no sdk would have.
type wild struct {
	start func(w *wildAttempt) error              // serves Start
	watch func(w *wildAttempt, from uint64) error // serves Watch; nil: nothing more comes
	quiet bool                                    // the stream stays open until the host goes
}

// wildAttempt is such an attempt.
type wildAttempt struct {
	*fakeAttempt
	request *pluginpb.StartRequest
	input   map[string]any
	send    func(...*pluginpb.Event) error
}

func (f *fake) startWild(w wild, r *pluginpb.StartRequest, input map[string]any, stream grpc.ServerStreamingServer[pluginpb.StartResponse]) error {
	a := &fakeAttempt{changed: make(chan struct{}), canceled: make(chan pluginpb.CancelMode, 8)}
	on := func(send func(...*pluginpb.Event) error) *wildAttempt {
		return &wildAttempt{fakeAttempt: a, request: r, input: input, send: send}
	}
	a.watch = func(r *pluginpb.WatchRequest, stream grpc.ServerStreamingServer[pluginpb.WatchResponse]) error {
		if w.watch == nil {
			return nil
		}
		return w.watch(on(func(events ...*pluginpb.Event) error {
			return stream.Send(&pluginpb.WatchResponse{Events: events})
		}), r.GetFrom())
	}
	f.mu.Lock()
	f.attempts[r.GetAttemptId()] = a
	f.mu.Unlock()
	err := w.start(on(func(events ...*pluginpb.Event) error {
		return stream.Send(&pluginpb.StartResponse{Events: events})
	}))
	if w.quiet && err == nil {
		<-stream.Context().Done()
	}
	return err
}

func begun(n uint64) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Started{Started: &pluginpb.Started{}}}
}

func text(n uint64, s string) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Result{Result: &pluginpb.Result{
		ContentType: "text/plain", Content: &pluginpb.Result_Inline{Inline: []byte(s)},
	}}}
}

func failed(n uint64, message string) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{Error: &pluginpb.Error{
		Class: pluginpb.ErrorClass_ERROR_CLASS_FAILED, Message: message,
	}}}}
}

func over(n uint64) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{}}}
}

func named(n uint64, key, value string) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Output{Output: &pluginpb.Output{Key: key, Value: value, Kind: pluginpb.OutputKind_OUTPUT_KIND_LINK}}}
}

func used(n uint64, unit string, amount float64) *pluginpb.Event {
	return &pluginpb.Event{Number: n, Kind: &pluginpb.Event_Usage{Usage: &pluginpb.Usage{Unit: unit, Amount: amount}}}
}

// told returns a wild one whose Start sends events one by one.
func told(events ...*pluginpb.Event) wild {
	return wild{start: func(w *wildAttempt) error {
		for _, e := range events {
			if err := w.send(e); err != nil {
				return err
			}
		}
		return nil
	}}
}

// batch returns a wild one whose Start sends events at once.
func batch(events ...*pluginpb.Event) wild {
	return wild{start: func(w *wildAttempt) error { return w.send(events...) }}
}

// wilds returns the wild ways, by what an input says to do.
var wilds = sync.OnceValue(func() map[string]wild {
	return map[string]wild{
		"numbers repeat":            told(begun(1), named(2, "a", "b"), named(2, "c", "d"), over(3)),
		"numbers decrease":          batch(begun(5), named(4, "a", "b"), over(6)),
		"numbers are missing":       told(begun(0), over(0)),
		"two ends":                  batch(begun(1), text(2, "first"), over(3), failed(4, "second"), over(5)),
		"two ends one by one":       told(begun(1), text(2, "first"), over(3), failed(4, "second")),
		"events after the end":      batch(begun(1), over(2), text(3, "late"), named(4, "late", "late")),
		"several starts":            told(begun(1), begun(2), begun(3), over(4)),
		"an end without a start":    told(over(1)),
		"no end":                    told(begun(1)),
		"an event of no kind":       told(begun(1), &pluginpb.Event{Number: 2}, over(3)),
		"results again and again":   told(begun(1), text(2, "first"), text(3, "last"), over(4)),
		"an end that says nothing":  told(begun(1), &pluginpb.Event{Number: 2, Kind: &pluginpb.Event_Ended{Ended: &pluginpb.Ended{Error: &pluginpb.Error{}}}}),
		"an error of a megabyte":    told(begun(1), failed(2, strings.Repeat("é", 1<<20))),
		"a message of 8 megabytes":  told(begun(1), text(2, strings.Repeat("x", 8<<20)), over(3)),
		"a first one of 8 MB":       told(text(1, strings.Repeat("x", 8<<20))),
		"an inline result too long": told(begun(1), text(2, strings.Repeat("x", 65<<10)), over(3)),
		"an error after events": {
			start: func(w *wildAttempt) error {
				if err := w.send(begun(1)); err != nil {
					return err
				}
				return status.Error(codes.InvalidArgument, "on second thoughts, no")
			},
		},
		"forgotten mid-job": {
			start: func(w *wildAttempt) error {
				if err := w.send(begun(1)); err != nil {
					return err
				}
				return status.Error(codes.Unavailable, "the stream broke")
			},
			watch: func(*wildAttempt, uint64) error { return status.Error(codes.NotFound, "who is that") },
		},
		"everything again": { // from the first event on, whatever the host asks for
			start: func(w *wildAttempt) error { return w.send(begun(1), named(2, "page", "http://x/"), used(3, "rows", 1)) },
			watch: func(w *wildAttempt, _ uint64) error {
				return w.send(begun(1), named(2, "page", "http://x/"), used(3, "rows", 1), text(4, "all"), over(5))
			},
		},
		"other numbers after a break": {
			start: func(w *wildAttempt) error { return w.send(begun(7)) },
			watch: func(w *wildAttempt, _ uint64) error { return w.send(begun(1), over(2)) },
		},
		"quiet": {quiet: true, start: func(w *wildAttempt) error { return w.send(begun(1)) }},
		"flood": {start: flood},
		"gone well": {start: func(w *wildAttempt) error {
			if err := w.send(begun(1)); err != nil {
				return err
			}
			os.Exit(0)
			return nil
		}},
		"frozen": {quiet: true, start: func(w *wildAttempt) error {
			if err := w.send(begun(1)); err != nil {
				return err
			}
			<-w.canceled // so that the event has arrived
			return syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}},
		"socket unlinked": {start: func(w *wildAttempt) error {
			sockets, _ := filepath.Glob(filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin[0-9]*"))
			for _, socket := range sockets {
				os.Remove(socket)
			}
			return w.send(begun(1), text(2, fmt.Sprintf("removed %d", len(sockets))), over(3))
		}},
		"socket closed": {quiet: true, start: func(w *wildAttempt) error {
			if err := w.send(begun(1)); err != nil {
				return err
			}
			closeSockets()
			return nil
		}},
		"immortal": {quiet: true, start: func(w *wildAttempt) error {
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			pids := w.input["pids"].(string)
			// A session of its own, and below it one whose parent has gone at once.
			script := `trap "" TERM HUP; (setsid sleep 300 & echo $! >>"$0"); echo $$ >>"$0"; sleep 300`
			cmd := exec.Command("sh", "-c", script, pids)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				return err
			}
			for {
				if said, _ := os.ReadFile(pids); len(strings.Fields(string(said))) == 2 {
					return w.send(begun(1))
				}
				<-time.After(time.Millisecond)
			}
		}},
		"holds the streams": {quiet: true, start: func(w *wildAttempt) error {
			cmd := exec.Command("sleep", "300")
			for _, fd := range []uintptr{1, 2} {
				// Not os.Stdout: go-plugin has made a pipe of that.
				stream := os.NewFile(fd, "")
				cmd.Stdout, cmd.Stderr = stream, stream
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				return err
			}
			return w.send(begun(1))
		}},
		"slow to stop": {start: func(w *wildAttempt) error {
			if err := w.send(begun(1)); err != nil {
				return err
			}
			<-w.canceled
			<-time.After(2500 * time.Millisecond) // longer than go-plugin would wait
			return w.send(failed(2, "all is tidy"))
		}},
		"prints": {start: func(w *wildAttempt) error {
			for range 2000 { // many times what a pipe holds
				fmt.Println(strings.Repeat("o", 1000))
				fmt.Fprintln(os.Stderr, strings.Repeat("e", 1000))
			}
			return w.send(begun(1), text(2, "printed"), over(3))
		}},
		"log flood": {start: func(w *wildAttempt) error {
			fd := int(w.input["fd"].(float64))
			chunk := []byte(strings.Repeat("all work and no play ", 50<<10)) // without an end of line
			for left := int64(w.input["bytes"].(float64)); left > 0; left -= int64(len(chunk)) {
				if _, err := syscall.Write(fd, chunk); err != nil {
					return err
				}
			}
			return w.send(begun(1), text(2, "done"), over(3))
		}},
		"spill": {quiet: true, start: func(w *wildAttempt) error {
			logs := w.request.GetFolders().GetLogs()
			if err := os.MkdirAll(logs, 0o700); err != nil {
				return err
			}
			file, err := os.OpenFile(filepath.Join(logs, "stdout"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			if err := w.send(begun(1)); err != nil {
				return err
			}
			for chunk := []byte(strings.Repeat("x", 256<<10)); ; {
				if _, err := file.Write(chunk); err != nil {
					return err
				}
			}
		}},
	}
})

// flood reports far more than anybody can want to know.
func flood(w *wildAttempt) error {
	n := uint64(0)
	for i := range 500 {
		var events []*pluginpb.Event
		for j := range 50 {
			name := fmt.Sprintf("name %d", i*50+j)
			events = append(events,
				&pluginpb.Event{Kind: &pluginpb.Event_Progress{Progress: &pluginpb.Progress{Done: float64(i), Message: strings.Repeat("p", 500)}}},
				named(0, name, strings.Repeat("v", 500)),
				used(0, name, 1))
		}
		for _, e := range events {
			n++
			e.Number = n
		}
		if err := w.send(events...); err != nil {
			return err
		}
	}
	return w.send(text(n+1, "flooded"), over(n+2))
}

// closeSockets closes all sockets of the process, which goes on.
func closeSockets() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		var fd int
		if _, err := fmt.Sscan(entry.Name(), &fd); err != nil {
			continue
		}
		if to, _ := os.Readlink("/proc/self/fd/" + entry.Name()); strings.HasPrefix(to, "socket:") {
			_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
}

// wildDocs is what a plugin adds to its description, if it answers at all.
func wildDocs() (string, error) {
	switch os.Getenv("HEIMDALL_TEST_DESCRIBE") {
	case "huge":
		return strings.Repeat("x", 100<<20), nil
	case "hangs":
		select {}
	case "no":
		return "", status.Error(codes.Internal, "not today")
	case "changes": // with each process, and each call
		return time.Now().String(), nil
	}
	return "", nil
}

// wildAttempts are the attempts that a plugin lists and has never heard of.
func wildAttempts() (list []*pluginpb.AttemptInfo) {
	if os.Getenv("HEIMDALL_TEST_LIST") == "lies" {
		for range 3 {
			list = append(list, &pluginpb.AttemptInfo{AttemptId: "lie"})
		}
		list = append(list, &pluginpb.AttemptInfo{AttemptId: ""})
	}
	return list
}

// wildResult returns a result as the input says, in the JSON of protobuf.
func wildResult(value any) (*pluginpb.Result, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	result := &pluginpb.Result{}
	return result, protojson.Unmarshal(raw, result)
}
