package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// load is what a number of callers saw who called without a pause.
type load struct {
	calls    int
	rate     float64 // calls a second
	p50, p99 time.Duration
	cpu      time.Duration // of all processes that took part, for each call
}

// drive lets callers call fn for a while, after a warm-up of a fifth of it.
// The processor time is that of this process and those named.
func drive(ctx context.Context, callers int, length time.Duration, fn func(context.Context) error, processes ...int) (load, error) {
	if _, err := drivePart(ctx, callers, length/5, fn); err != nil {
		return load{}, err
	}
	before, err := processorTime(processes)
	if err != nil {
		return load{}, err
	}
	l, err := drivePart(ctx, callers, length, fn)
	if err != nil {
		return load{}, err
	}
	after, err := processorTime(processes)
	if err != nil {
		return load{}, err
	}
	l.cpu = (after - before) / time.Duration(l.calls)
	return l, nil
}

func drivePart(ctx context.Context, callers int, length time.Duration, fn func(context.Context) error) (load, error) {
	begun := time.Now()
	return driveUntil(ctx, callers, func() bool { return time.Since(begun) >= length }, fn)
}

// driveUntil lets callers call fn until it is over. One whose call fails ends.
func driveUntil(ctx context.Context, callers int, over func() bool, fn func(context.Context) error) (load, error) {
	var group sync.WaitGroup
	took := make([][]time.Duration, callers)
	failed := make([]error, callers)
	begun := time.Now()
	for i := range callers {
		group.Go(func() {
			for !over() && ctx.Err() == nil {
				start := time.Now()
				if failed[i] = fn(ctx); failed[i] != nil {
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(begun)
	for _, err := range append(failed, ctx.Err()) {
		if err != nil {
			return load{}, err
		}
	}
	all := slices.Concat(took...)
	if len(all) == 0 {
		return load{}, errors.New("not one call was made")
	}
	slices.Sort(all)
	return load{
		calls: len(all),
		rate:  float64(len(all)) / elapsed.Seconds(),
		p50:   all[len(all)/2],
		p99:   all[len(all)*99/100],
	}, nil
}

// processorTime returns the user and system time of this process and others.
func processorTime(processes []int) (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	sum := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	for _, pid := range processes {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name of the program may hold anything but is closed by the last ")".
		fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
		for _, field := range fields[11:13] { // utime and stime, hundredths of a second
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum, nil
}

const (
	calm     = 10               // percent of the machine's processor time that others may take
	calmLook = time.Second / 2  // over which that is measured
	calmWait = 10 * time.Second // after which a busy machine is put up with
)

// others waits for a while until the machine is calm, and returns how much of
// its processor time is taken, percent, while what is measured does nothing: a
// run on a busy machine says less.
func others(ctx context.Context) (percent float64, err error) {
	for begun := time.Now(); ; {
		busy, all, err := machineTime()
		if err != nil {
			return 0, err
		}
		time.Sleep(calmLook)
		busyThen, allThen, err := machineTime()
		if err != nil || ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
		percent = 100 * (busyThen - busy) / max(allThen-all, 1)
		if percent <= calm || time.Since(begun) > calmWait {
			return percent, nil
		}
	}
}

// machineTime returns the busy and the whole time of all processors since the
// machine was started, hundredths of a second.
func machineTime() (busy, all float64, err error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(line)[1:] // user nice system idle iowait irq softirq steal guest guest_nice
	for i, field := range fields[:min(len(fields), 8)] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		all += ticks
		if i != 3 && i != 4 {
			busy += ticks
		}
	}
	return busy, all, nil
}
