package app

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// newLog returns the log of a host.
func newLog(c config.Log, w io.Writer, q *quiet) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "heimdall",
		Level:      hclog.LevelFromString(c.Level),
		JSONFormat: c.Format == "json",
		Output:     w,
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
		TimeFn:     time.Now,
		Exclude:    q.excludes(hclog.LevelFromString(c.Level)),
	})
}

// quiet keeps the parts of a host from saying each, at each try, that the database
// does not answer: the store says that once, and when it is over.
type quiet struct{ speaks atomic.Pointer[func() bool] }

// while has such warnings left out while speaks reports true.
func (q *quiet) while(speaks func() bool) { q.speaks.Store(&speaks) }

// excludes returns what leaves lines out of a log of a level. Who wants to know more
// is told all.
func (q *quiet) excludes(level hclog.Level) func(hclog.Level, string, ...any) bool {
	if level <= hclog.Debug {
		return nil
	}
	return func(level hclog.Level, _ string, args ...any) bool {
		if level != hclog.Warn {
			return false
		}
		speaks := q.speaks.Load()
		return speaks != nil && (*speaks)() && unavailable(args)
	}
}

// unavailable reports whether a line is about something that is away.
func unavailable(args []any) bool {
	for i := 1; i < len(args); i += 2 {
		if err, ok := args[i].(error); ok && args[i-1] == "error" {
			return errs.Is(err, errs.Unavailable)
		}
	}
	return false
}
