package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errOdd = errors.New("odd")

// doubler is a combiner that doubles numbers and notes its batches. Each batch
// waits for a word on next, when that is set.
func doubler(batches *[]int, next chan struct{}) *combiner[int, int] {
	return &combiner[int, int]{
		size: func(n int) int { return n },
		flush: func(batch []*call[int, int]) {
			if next != nil {
				<-next
			}
			*batches = append(*batches, len(batch))
			for _, k := range batch {
				k.out = 2 * k.in
			}
		},
	}
}

func TestCombinerGathersWhileItWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		next := make(chan struct{})
		c := doubler(&batches, next)
		var all sync.WaitGroup
		ask := func(n int) {
			all.Go(func() {
				if got, err := c.do(t.Context(), n); got != 2*n || err != nil {
					t.Errorf("do(%d): got %d and error %v, want %d", n, got, err, 2*n)
				}
			})
			synctest.Wait()
		}
		ask(1)
		for n := range 5 {
			ask(n)
		}
		close(next)
		all.Wait()
		c.close()
		if want := []int{1, 5}; !slices.Equal(batches, want) {
			t.Errorf("sizes of batches: got %v, want %v", batches, want)
		}
	})
}

func TestCombinerBoundsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		next := make(chan struct{})
		c := doubler(&batches, next)
		var all sync.WaitGroup
		all.Go(func() { _, _ = c.do(t.Context(), 0) })
		synctest.Wait()
		for range batchCount + 1 {
			all.Go(func() { _, _ = c.do(t.Context(), 0) })
		}
		synctest.Wait()
		for range 3 {
			all.Go(func() { _, _ = c.do(t.Context(), batchBytes) })
		}
		synctest.Wait()
		close(next)
		all.Wait()
		if want := []int{1, batchCount, 2, 1, 1}; !slices.Equal(batches, want) {
			t.Errorf("sizes of batches: got %v, want %v", batches, want)
		}
	})
}

func TestCombinerLetsCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		next := make(chan struct{})
		c := doubler(&batches, next)
		ctx, leave := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.do(ctx, 1); !errors.Is(err, errOdd) {
				t.Errorf("do: got %v, want the cause %v", err, errOdd)
			}
		})
		synctest.Wait()
		leave(errOdd)
		all.Wait()
		if _, err := c.do(ctx, 1); !errors.Is(err, errOdd) {
			t.Errorf("do after leaving: got %v, want %v", err, errOdd)
		}
		close(next)
		c.close()
		if want := []int{1}; !slices.Equal(batches, want) {
			t.Errorf("sizes of batches: got %v, want %v", batches, want)
		}
		if _, err := c.do(t.Context(), 1); !errors.Is(err, errClosed) {
			t.Errorf("do after close: got %v, want %v", err, errClosed)
		}
	})
}

func TestIsolateFailsOnlyTheOdd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in      []int
		refused bool
		failed  []int
	}{
		"none":                  {[]int{2, 4, 6}, true, nil},
		"one of one":            {[]int{1}, true, []int{1}},
		"some":                  {[]int{2, 3, 4, 6, 7, 8, 10}, true, []int{3, 7}},
		"all":                   {[]int{1, 3, 5, 7}, true, []int{1, 3, 5, 7}},
		"none is to be blamed":  {[]int{2, 3, 4}, false, []int{2, 3, 4}},
		"the last of very many": {append(slices.Repeat([]int{2}, batchCount), 3), true, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var batch []*call[int, bool]
			for _, n := range c.in {
				batch = append(batch, &call[int, bool]{in: n})
			}
			isolate(batch, func(some []*call[int, bool]) error {
				if slices.ContainsFunc(some, func(k *call[int, bool]) bool { return k.in%2 == 1 }) {
					return errOdd
				}
				for _, k := range some {
					k.out = true
				}
				return nil
			}, func(error) bool { return c.refused })
			var failed []int
			for _, k := range batch {
				if k.err != nil {
					failed = append(failed, k.in)
				}
				if k.out == (k.err != nil) {
					t.Errorf("member %d: got out %t with error %v", k.in, k.out, k.err)
				}
			}
			if !slices.Equal(failed, c.failed) {
				t.Errorf("failed: got %v, want %v", failed, c.failed)
			}
		})
	}
}

// Nobody waits for ever behind a batch that takes its time: who has waited for too
// long is turned away and not written.
func TestCombinerTurnsAwayWhoWaitsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []int
		c := &combiner[int, int]{
			size:     func(int) int { return 0 },
			patience: 5 * time.Second,
			flush: func(batch []*call[int, int]) {
				for _, k := range batch {
					written = append(written, k.in)
				}
				time.Sleep(15 * time.Second)
			},
		}
		var all sync.WaitGroup
		ask := func(n int, want error, within time.Duration) {
			begun := time.Now()
			all.Go(func() {
				if _, err := c.do(t.Context(), n); !errors.Is(err, want) || time.Since(begun) > within {
					t.Errorf("do(%d): got error %v after %v, want %v within %v", n, err, time.Since(begun), want, within)
				}
			})
			synctest.Wait()
		}
		ask(1, nil, 15*time.Second)
		ask(2, errBusy, 15*time.Second)
		time.Sleep(11 * time.Second)
		ask(3, nil, 19*time.Second)
		all.Wait()
		c.close()
		if want := []int{1, 3}; !slices.Equal(written, want) {
			t.Errorf("written: got %v, want %v", written, want)
		}
	})
}
