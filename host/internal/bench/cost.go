package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what a job takes.
type cost struct {
	cpu  float64 // microseconds of all processes but the client's
	wall float64 // microseconds, with all clients at work
}

// pairsOf is how often two things are measured in turn when their ratio is what
// matters.
const pairsOf = 7

// compare measures two things in turn, first the one and then the other before
// the first, and returns the medians of both and of the ratios within the pairs.
func compare(one, other func() (cost, error)) (ones, others, ratios cost, err error) {
	var all [3][]cost
	for i := range pairsOf {
		var pair [2]cost
		for k := range pair {
			which := (i + k) % 2
			if pair[which], err = []func() (cost, error){one, other}[which](); err != nil {
				return cost{}, cost{}, cost{}, err
			}
		}
		all[0], all[1] = append(all[0], pair[0]), append(all[1], pair[1])
		all[2] = append(all[2], cost{cpu: pair[1].cpu / pair[0].cpu, wall: pair[1].wall / pair[0].wall})
	}
	return middleCost(all[0]), middleCost(all[1]), middleCost(all[2]), nil
}

func middleCost(costs []cost) cost {
	var cpu, wall []float64
	for _, c := range costs {
		cpu, wall = append(cpu, c.cpu), append(wall, c.wall)
	}
	return cost{cpu: middle(cpu), wall: middle(wall)}
}

// costOf drives fn for a while, and divides what the processes and all that
// descend from them took.
func costOf(ctx context.Context, callers int, length time.Duration, processes []int, fn func(context.Context) error) (cost, error) {
	if _, err := drivePart(ctx, callers, length/5, fn); err != nil {
		return cost{}, err
	}
	before, err := familyTime(processes)
	if err != nil {
		return cost{}, err
	}
	l, err := drivePart(ctx, callers, length, fn)
	if err != nil {
		return cost{}, err
	}
	after, err := familyTime(processes)
	if err != nil {
		return cost{}, err
	}
	return cost{cpu: micro(after-before) / float64(l.calls), wall: 1e6 / l.rate}, nil
}

// familyTime returns the user and system time of processes and of all that
// descend from them, those that have ended too.
func familyTime(roots []int) (time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	took, parents := map[int]time.Duration{}, map[int]int{}
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return 0, err
		}
		parent, t, err := statOf(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		took[pid], parents[pid] = t, parent
	}
	var sum time.Duration
	for pid, t := range took {
		for p := pid; p > 0; p = parents[p] {
			if slices.Contains(roots, p) {
				sum += t
				break
			}
		}
	}
	return sum, nil
}

func parentOf(pid int) (int, error) {
	parent, _, err := statOf(pid)
	return parent, err
}

// statOf returns the parent of a process, and the user and system time of it and
// of its children that have ended.
func statOf(pid int) (parent int, took time.Duration, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name of the program may hold anything but is closed by the last ")".
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, err
	}
	for _, field := range fields[11:15] { // utime, stime, cutime and cstime, hundredths of a second
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, err
		}
		took += time.Duration(ticks) * 10 * time.Millisecond
	}
	return parent, took, nil
}
