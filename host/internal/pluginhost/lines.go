package pluginhost

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
)

const (
	keptLines = 100
	keptBytes = 500 // of each line

	// addressLine is what go-plugin logs at each start of a plugin in Go. It is
	// the reason of nothing.
	addressLine = "plugin address"
)

// lines remembers the last lines that a process wrote to stderr, to say why it
// crashed.
type lines struct {
	mu    sync.Mutex
	last  []string
	panic string // the first line of a panic of the Go runtime
}

func (l *lines) add(line string) {
	if line == addressLine {
		return
	}
	line = strings.ToValidUTF8(line[:min(len(line), keptBytes)], "�")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panic == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		l.panic = line
	}
	if len(l.last) == keptLines {
		l.last = append(l.last[:0], l.last[keptLines/2:]...)
	}
	l.last = append(l.last, line)
}

// cause returns the line that says best why the process ended.
func (l *lines) cause() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panic != "" {
		return l.panic
	}
	for i := len(l.last) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(l.last[i]); line != "" {
			return line
		}
	}
	return ""
}

// text returns all lines that are remembered.
func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}

// parseLog splits a JSON line of hclog or log/slog into its parts. Any other
// line is a message of level debug.
func parseLog(line string) (level hclog.Level, message string, args []any) {
	var entry map[string]any
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &entry) != nil {
		return hclog.Debug, line, nil
	}
	text := func(keys ...string) string {
		for _, key := range keys {
			if s, ok := entry[key].(string); ok {
				delete(entry, key)
				return s
			}
		}
		return ""
	}
	if level = hclog.LevelFromString(text("@level", "level")); level == hclog.NoLevel {
		level = hclog.Debug
	}
	message = text("@message", "msg")
	if message == "" {
		return level, line, nil
	}
	text("@timestamp", "time")
	for key, value := range entry {
		args = append(args, strings.TrimPrefix(key, "@"), value)
	}
	return level, message, args
}
