package main

import (
	"fmt"
)

// comparedJobs is how many async jobs one measurement of a comparison is made of.
const comparedJobs = 4_000

// workers is more of the configuration: the slots of a host.
func workers(n int) string { return fmt.Sprintf("[queue]\nworkers = %d\n", n) }

// twoHosts compares two hosts on one database with one that has as many slots as
// both.
func (b *bench) twoHosts() (err error) {
	alone, err := b.site("alone", catalogFile+workers(64), b.plugins(), 1)
	if err != nil {
		return err
	}
	defer alone.end(&err)
	two, err := b.site("two", catalogFile+workers(32), b.plugins(), 2)
	if err != nil {
		return err
	}
	defer two.end(&err)
	for _, m := range []struct {
		what    string
		measure func(*site) (cost, error)
	}{
		{"sync pings", func(s *site) (cost, error) { return s.ping(b) }},
		{"async pings", func(s *site) (cost, error) { return s.wave(b, pingJob) }},
	} {
		one, other, ratios, err := compare(
			func() (cost, error) { return m.measure(alone) },
			func() (cost, error) { return m.measure(two) })
		if err != nil {
			return err
		}
		b.add(Figure{Name: m.what + " of one host", Value: 1e6 / one.wall, Unit: "jobs/s"})
		b.add(Figure{
			Name: "the same of two hosts", Value: 1e6 / other.wall, Unit: "jobs/s",
			Against: "that", Ratio: 1 / ratios.wall, Goal: "at least 0.9",
		})
		b.add(Figure{Name: "CPU for each job, two hosts", Value: other.cpu, Unit: "µs", Against: "one host", Ratio: ratios.cpu})
	}
	return nil
}

// wave measures what async jobs take of the site's processes.
func (s *site) wave(b *bench, body string) (cost, error) {
	s.waves++
	before, err := familyTime(s.processes)
	if err != nil {
		return cost{}, err
	}
	w, err := b.wave(comparedJobs, fmt.Sprintf("wave-%d", s.waves), body, s.hosts...)
	if err != nil {
		return cost{}, err
	}
	after, err := familyTime(s.processes)
	if err != nil {
		return cost{}, err
	}
	return cost{cpu: micro(after-before) / comparedJobs, wall: 1e6 / w.ended}, nil
}

// cappedCatalog has a second command, whose cap is never reached.
const cappedCatalog = catalogFile + `
[[commands]]
name = "capped"
plugin = "ping"
is_sync = true
tags = ["type:capped"]
max_running = 100000
`

const cappedJob = `{"name":"ping-test", "version":"0.0.1", "context":{}, "command_criteria":["type:capped"], "cluster_criteria":["type:localhost"]}`

// capped compares a command with a cap that does not bind with one without.
func (b *bench) capped() (err error) {
	s, err := b.site("capped", cappedCatalog, b.plugins(), 1)
	if err != nil {
		return err
	}
	defer s.end(&err)
	for _, m := range []struct {
		what    string
		measure func(body string) (cost, error)
	}{
		{"sync", func(body string) (cost, error) { return s.run(b, body) }},
		{"async", func(body string) (cost, error) { return s.wave(b, body) }},
	} {
		without, with, ratios, err := compare(
			func() (cost, error) { return m.measure(pingJob) },
			func() (cost, error) { return m.measure(cappedJob) })
		if err != nil {
			return err
		}
		b.addCosts(without, with, ratios, m.what+", no cap", "with a cap of 100000", "under 1.15")
	}
	return nil
}
