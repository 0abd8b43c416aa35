package main

import (
	"fmt"
	"strings"
)

// comparedJobs is how many async jobs one measurement of a comparison is made of.
const comparedJobs = 4_000

// workers is more of the configuration: the slots of a host.
func workers(n int) string { return fmt.Sprintf("[queue]\nworkers = %d\n", n) }

// way is a way of submitting that sites are compared by.
type way struct {
	what    string
	measure func(*site, *bench) (cost, error)
}

var ways = []way{
	{"sync pings", (*site).ping},
	{"async pings", (*site).wave},
}

// twoHosts compares two hosts on one database with one, of the same configuration,
// with as many clients as the main figure and with twice as many: each host has its
// batches, and what these cost is shared by more jobs where more clients wait;
// and, with no goal, two that have only half of its slots each, so that each request
// beyond half of the clients waits for a slot of the other.
func (b *bench) twoHosts() (err error) {
	alone, err := b.site("alone", catalogFile+workers(2*callers), b.plugins(), 1)
	if err != nil {
		return err
	}
	defer alone.end(&err)
	two, err := b.site("two", catalogFile+workers(2*callers), b.plugins(), 2)
	if err != nil {
		return err
	}
	defer two.end(&err)
	halves, err := b.site("halves", catalogFile+workers(callers/2), b.plugins(), 2)
	if err != nil {
		return err
	}
	defer halves.end(&err)
	byTurns := way{"sync pings, clients by turns", (*site).pingByTurns}
	many := way{fmt.Sprintf("sync pings, %d clients", 2*callers), (*site).pingOfMany}
	for _, m := range append(ways, many, byTurns) {
		if err := b.besideOne(m, alone, two, "the same of two hosts", "at least 0.9"); err != nil {
			return err
		}
	}
	return b.besideOne(byTurns, alone, halves, "the same of two hosts with half the slots", "")
}

// besideOne compares a site with one host.
func (b *bench) besideOne(m way, alone, site *site, name, goal string) error {
	one, other, ratios, err := compare(
		func() (cost, error) { return m.measure(alone, b) },
		func() (cost, error) { return m.measure(site, b) })
	if err != nil {
		return err
	}
	b.add(Figure{Name: m.what + " of one host", Value: 1e6 / one.wall, Unit: "jobs/s"})
	b.add(Figure{Name: name, Value: 1e6 / other.wall, Unit: "jobs/s", Against: "that", Ratio: 1 / ratios.wall, Goal: goal})
	b.add(Figure{Name: "CPU for each job, two hosts", Value: other.cpu, Unit: "µs", Against: "one host", Ratio: ratios.cpu})
	return nil
}

// wave measures what async jobs take of the site's processes.
func (s *site) wave(b *bench) (cost, error) {
	s.waves++
	w, err := b.wave(comparedJobs, fmt.Sprintf("wave-%d", s.waves), s.processes, s.hosts...)
	if err != nil {
		return cost{}, err
	}
	return cost{cpu: micro(w.cpu) / comparedJobs, wall: 1e6 / w.ended}, nil
}

// capped compares a command with a cap that does not bind with one without. Each
// has a database of its own: a host may do otherwise as soon as there is any cap.
func (b *bench) capped() (err error) {
	free, err := b.site("free", catalogFile, b.plugins(), 1)
	if err != nil {
		return err
	}
	defer free.end(&err)
	limited := strings.Replace(catalogFile, "is_sync = true\n", "is_sync = true\nmax_running = 100000\n", 1)
	capped, err := b.site("capped", limited, b.plugins(), 1)
	if err != nil {
		return err
	}
	defer capped.end(&err)
	for _, m := range ways {
		without, with, ratios, err := compare(
			func() (cost, error) { return m.measure(free, b) },
			func() (cost, error) { return m.measure(capped, b) })
		if err != nil {
			return err
		}
		b.addCosts(without, with, ratios, m.what+", no cap", "with a cap of 100000", "under 1.15")
	}
	return nil
}
