package job_test

import (
	"testing"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

func TestTimeOfID(t *testing.T) {
	for id, want := range map[job.ID]time.Time{
		"0196dd3a-3c63-7000-8000-000000000000": time.UnixMilli(0x0196dd3a3c63).UTC(),
		"0196dd3a-3c63-7001-bfff-ffffffffffff": time.UnixMilli(0x0196dd3a3c63).UTC(),
		"0196dd3a-3c63-7f42-8000-000000000000": time.UnixMicro(0x0196dd3a3c63*1000 + 999).UTC(),
		"0196dd3a-3c63-7fff-8000-000000000000": time.UnixMicro(0x0196dd3a3c63*1000 + 999).UTC(),
		"0196dd3a-3c63-4000-8000-000000000000": {}, // made of chance
		"none":                                 {},
	} {
		if got := id.Time(); !got.Equal(want) {
			t.Errorf("time of %s: got %v, want %v", id, got, want)
		}
	}
	begun := time.Now()
	var last job.ID
	for range 10000 { // faster than the clock of ids ticks
		id := job.NewID()
		if id <= last || id.Time().Before(last.Time()) {
			t.Fatalf("%s of %v comes behind %s of %v", id, id.Time(), last, last.Time())
		}
		last = id
	}
	if got := last.Time(); got.Before(begun.Add(-time.Millisecond)) || got.After(time.Now().Add(time.Minute)) {
		t.Errorf("the time of an id made now: got %v", got)
	}
}
