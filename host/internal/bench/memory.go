package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// anonymous returns the anonymous memory of the host's process, bytes.
func (s *server) anonymous() (float64, error) { return anonymous(s.command.Process.Pid) }

// anonymous returns the anonymous memory of a process, bytes.
func anonymous(pid int) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %f kB", &kilobytes); n == 1 {
			return kilobytes * 1024, nil
		}
	}
	return 0, errors.New("the kernel does not say RssAnon")
}

// peak watches how much anonymous memory a process takes at most.
type peak struct {
	once sync.Once
	over chan struct{}
	done chan struct{}
	most float64
	err  error
}

// watchMemory looks at how much memory there is in use until stop.
func watchMemory(anonymous func() (float64, error)) *peak {
	p := &peak{over: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for p.err == nil {
			var now float64
			now, p.err = anonymous()
			p.most = max(p.most, now)
			select {
			case <-p.over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return p
}

// stop ends the watch and returns the most that was seen, bytes.
func (p *peak) stop() (float64, error) {
	p.once.Do(func() { close(p.over) })
	<-p.done
	return p.most, p.err
}
