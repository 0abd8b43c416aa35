// Command bench measures the host against limits and peers of the same run: a
// figure by itself says more about the machine than about the host. It prints a
// table and writes the same figures as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// sectionTime is how long a section may take: one that does not end says so.
const sectionTime = 5 * time.Minute

// Figure is one measured value, and what it is held against.
type Figure struct {
	Section string  `json:"section"`
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Against string  `json:"against,omitempty"` // what the ratio is to
	Ratio   float64 `json:"ratio,omitempty"`
	Goal    string  `json:"goal,omitempty"`
	Missing string  `json:"missing,omitempty"` // why there is no value
}

// bench is one run.
type bench struct {
	ctx     context.Context
	bin     string        // folder of the built binaries
	scratch string        // folder for data
	length  time.Duration // of one measurement
	figures []Figure

	measured *limits // nil before
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == servePeer {
		peer(os.Args[2])
		return
	}
	if len(os.Args) == 3 && os.Args[1] == serveReader {
		reader(os.Args[2])
		return
	}
	bin := flag.String("bin", "bin", "folder of the built binaries")
	out := flag.String("out", "bench/out.json", "file for the figures")
	length := flag.Duration("length", 3*time.Second, "length of each measurement")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of this process")
	only := flag.String("only", "", "run only the sections whose names contain this")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *out, *only, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out, only string, length time.Duration) (err error) {
	scratch, err := os.MkdirTemp("", "heimdall-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	b := &bench{bin: bin, scratch: scratch, length: length}
	sections := []struct {
		name string
		run  func() error
	}{
		{"start", b.start},
		{"plugin start", b.pluginStart},
		{"job in a process of its own", b.perJob},
		{"crash noticed", b.crash},
		{"hot drop", b.hotDrop},
		{"take over", b.takeOver},
		{"large job", b.bulk},
		{"round trip", b.roundTrip},
		{"limits", func() error { _, err := b.limits(); return err }},
		{"sync ping on sqlite", func() error { return b.syncPing("sqlite") }},
		{"sync ping on postgres", func() error { return b.syncPing("postgres") }},
		{"async jobs", b.asyncPing},
		{"idle latency on sqlite", func() error { return b.idle("sqlite", 5*time.Millisecond) }},
		{"idle latency on postgres", func() error { return b.idle("postgres", 8*time.Millisecond) }},
		{"get job", b.getJob},
		{"many ended jobs", b.manyEnded},
		{"many waiting jobs", b.manyWaiting},
		{"two hosts", b.twoHosts},
		{"cap", b.capped},
		{"cancel elsewhere", b.cancelElsewhere},
		{"host lost", b.hostLost},
		{"catalog on sqlite", func() error { return b.catalog("sqlite") }},
		{"catalog on postgres", func() error { return b.catalog("postgres") }},
		{"rows of a database", b.sql},
		{"lists on sqlite", func() error { return b.lists("sqlite") }},
		{"lists on postgres", func() error { return b.lists("postgres") }},
	}
	missing := 0
	for _, s := range sections {
		if !strings.Contains(s.name, only) {
			continue
		}
		fmt.Printf("\n%s\n", s.name)
		before := len(b.figures)
		taken, err := others(ctx)
		if err != nil {
			return err
		}
		b.add(Figure{Name: "taken by others before", Value: taken, Unit: "% CPU"})
		section, done := context.WithTimeoutCause(ctx, sectionTime, fmt.Errorf("it did not end within %v", sectionTime))
		b.ctx = section
		err = s.run()
		if section.Err() != nil {
			err = errors.Join(context.Cause(section), err)
		}
		done()
		if err != nil {
			b.add(Figure{Name: "the rest of " + s.name, Missing: err.Error()})
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i := range b.figures[before:] {
			f := &b.figures[before+i]
			f.Section = s.name
			if f.Missing != "" {
				missing++
			}
		}
	}
	if err := b.write(out); err != nil || missing == 0 {
		return err
	}
	return fmt.Errorf("%d figures could not be measured", missing)
}

// add keeps a figure and prints it.
func (b *bench) add(f Figure) {
	b.figures = append(b.figures, f)
	line := fmt.Sprintf("  %-44s %12.4g %-8s", f.Name, f.Value, f.Unit)
	if f.Missing != "" {
		line = fmt.Sprintf("  %-44s not measured: %s", f.Name, strings.Join(strings.Fields(f.Missing), " "))
	}
	if f.Against != "" && f.Missing == "" {
		line += fmt.Sprintf(" %7.3g × %s", f.Ratio, f.Against)
	}
	if f.Goal != "" {
		line += "  (goal: " + f.Goal + ")"
	}
	fmt.Println(strings.TrimRight(line, " "))
}

func (b *bench) write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	content, err := json.MarshalIndent(struct {
		Go      string    `json:"go"`
		Cores   int       `json:"cores"`
		At      time.Time `json:"at"`
		Figures []Figure  `json:"figures"`
	}{runtime.Version(), runtime.NumCPU(), time.Now().UTC().Truncate(time.Second), b.figures}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println("\nwritten to", file)
	return os.WriteFile(file, append(content, '\n'), 0o644)
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
