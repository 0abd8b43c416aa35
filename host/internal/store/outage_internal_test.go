package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// An outage is one line when it begins and one when it ends, however many writes
// fail, and one broken connection is none.
func TestOutage(t *testing.T) {
	lost := away("no answer in time", ErrUnknown)
	for name, c := range map[string]struct {
		happens func(note func(error))
		want    []string // what lines contain
	}{
		"one broken connection": {
			func(note func(error)) {
				note(lost)
				time.Sleep(time.Second)
				note(nil)
				time.Sleep(2 * time.Minute)
			},
			[]string{"[INFO]  the database did not answer for a moment: away_for=1s"},
		},
		"some writes fail and others do not": {
			func(note func(error)) {
				for range 50 {
					note(lost)
					time.Sleep(time.Second)
					note(nil)
				}
			},
			[]string{"for a moment"},
		},
		"away and back": {
			func(note func(error)) {
				for range 60 {
					note(lost)
					time.Sleep(time.Second)
				}
				note(nil)
				note(nil)
			},
			[]string{"[ERROR] the database is away", "[WARN]  the database is back: away_for=1m0s"},
		},
		"twice": {
			func(note func(error)) {
				for range 2 {
					note(lost)
					time.Sleep(10 * time.Second)
					note(nil)
				}
			},
			[]string{"is away", "away_for=10s", "is away", "away_for=10s"},
		},
		"a refusal is an answer": {
			func(note func(error)) {
				note(lost)
				note(fmt.Errorf("record the end: %w", ErrLeaseLost))
				time.Sleep(time.Minute)
			},
			[]string{"for a moment: away_for=0s"},
		},
		"who leaves has heard nothing": {
			func(note func(error)) {
				note(lost)
				note(leftError{context.Canceled})
				note(fmt.Errorf("read: %w", context.Canceled))
				note(errClosed)
				time.Sleep(3 * time.Second)
			},
			[]string{"is away"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				o := &observed{observer: nobody{}, outage: newOutage(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))}
				c.happens(func(err error) { o.note(others, time.Now(), err) })
				synctest.Wait()
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				if out.Len() == 0 {
					lines = nil
				}
				if len(lines) != len(c.want) {
					t.Fatalf("log = %q, want lines with %q", lines, c.want)
				}
				for i, want := range c.want {
					if !strings.Contains(lines[i], want) {
						t.Errorf("line %d = %q, want %q in it", i, lines[i], want)
					}
				}
				o.outage.close()
			})
		})
	}
}

// The store is up until the outage was said, and after it.
func TestUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &DB{outage: newOutage(hclog.NewNullLogger())}
		lost := away("gone", errors.New("gone"))
		db.outage.note(time.Now(), lost, true)
		if !db.Speaks() {
			t.Error("Speaks = false after the first failure, want true")
		}
		if !db.Up() {
			t.Error("Up = false after one failure, want true")
		}
		time.Sleep(2 * outageAfter)
		synctest.Wait()
		if db.Up() {
			t.Error("Up = true while nothing succeeds, want false")
		}
		db.outage.note(time.Now(), nil, false)
		if !db.Up() || db.Speaks() {
			t.Errorf("Up = %t and Speaks = %t once a write has succeeded, want true and false", db.Up(), db.Speaks())
		}
		db.outage.note(time.Now(), lost, true)
		db.outage.note(time.Now(), nil, false)
		db.outage.note(time.Now(), lost, true)
		if db.Speaks() {
			t.Error("Speaks = true where some writes fail and others do not, want false")
		}
		db.outage.close()
	})
}
