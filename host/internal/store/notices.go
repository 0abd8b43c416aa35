package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// NoticeKind says what a notice is about.
type NoticeKind string

// What hosts tell each other.
const (
	WorkWaits  NoticeKind = "work"   // a job waits that a free host may claim
	CancelAsks NoticeKind = "cancel" // somebody has asked to cancel the jobs
	EndAwaited NoticeKind = "watch"  // somebody at the host From waits for the ends of the jobs
	JobsEnded  NoticeKind = "ended"  // the jobs, whose ends were awaited, have ended

	CatalogChanged NoticeKind = "catalog" // there is another version of it
)

// Notice is what one host tells others. Notices are hints: one may be lost when a
// connection breaks, so whoever needs to know looks at the store now and then.
type Notice struct {
	Kind NoticeKind
	From string
	To   string // "": to all
	Jobs []job.ID
}

// Listen calls heard with each notice for a host, one at a time, until ctx is done.
// It calls ready whenever it has begun to listen: what was said before, or while a
// connection was broken, is not heard. Between hosts on SQLite there are none.
func (db *DB) Listen(ctx context.Context, host string, ready func(), heard func(Notice)) error {
	return db.listen(ctx, ready, func(text string) {
		if n, ok := parseNotice(text); ok && n.From != host && (n.To == "" || n.To == host) {
			heard(n)
		}
	})
}

// Notify tells other hosts. The order is kept.
func (db *DB) Notify(ctx context.Context, notices ...Notice) error {
	var texts []string
	for _, n := range notices {
		texts = append(texts, n.texts()...)
	}
	if len(texts) == 0 {
		return nil
	}
	if err := db.notify(ctx, texts); err != nil {
		return fmt.Errorf("notify other hosts: %w", db.fault(err))
	}
	return nil
}

// noticeJobs is how many jobs one notice of the database holds: 8000 bytes are
// its limit.
const noticeJobs = 200

// texts writes a notice as kind, from, to and jobs.
func (n Notice) texts() (texts []string) {
	head := strings.Join([]string{string(n.Kind), n.From, n.To}, " ")
	if len(n.Jobs) == 0 {
		return []string{head}
	}
	for some := range slices.Chunk(n.Jobs, noticeJobs) {
		text := []string{head}
		for _, id := range some {
			text = append(text, string(id))
		}
		texts = append(texts, strings.Join(text, " "))
	}
	return texts
}

func parseNotice(text string) (Notice, bool) {
	words := strings.Split(text, " ")
	if len(words) < 3 {
		return Notice{}, false
	}
	n := Notice{Kind: NoticeKind(words[0]), From: words[1], To: words[2]}
	for _, word := range words[3:] {
		id, err := job.ParseID(word)
		if err != nil {
			return Notice{}, false
		}
		n.Jobs = append(n.Jobs, id)
	}
	return n, true
}
