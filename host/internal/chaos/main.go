// Command chaos holds hosts to their promises while it breaks everything under
// them: it starts real hosts on one real database, lets clients submit and cancel
// jobs, kills, freezes, cuts and fills, and then checks all that was
// acknowledged against a ledger that the executions themselves have written.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) (err error) {
	var p plan
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "folder of the built binaries, with faulty/heimdall-plugin-faulty in it")
	flags.StringVar(&p.store, "store", "postgres", "postgres or sqlite")
	flags.IntVar(&p.hosts, "hosts", 3, "hosts; one on sqlite")
	flags.DurationVar(&p.lease, "lease", time.Second, "how long a host may run without renewal")
	flags.IntVar(&p.clients, "clients", 8, "clients that submit jobs")
	flags.IntVar(&p.rate, "rate", 80, "submissions a second")
	flags.Uint64Var(&p.seed, "seed", rand.Uint64N(1e9), "of the schedule")
	flags.DurationVar(&p.settle, "settle", time.Minute, "how long jobs may take to their end after the last fault")
	faults := flags.Int("faults", 60, "faults of all kinds; those below are besides")
	single := map[kind]*int{}
	for _, k := range kinds {
		name := strings.ReplaceAll(strings.ToLower(string(k)), " ", "-")
		single[k] = flags.Int(name, 0, "faults of this kind")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if p.store == "sqlite" {
		p.hosts = 1
	}
	p.counts = share(*faults, p.store)
	for k, n := range single {
		p.counts[k] += *n
	}
	p.heimdall = filepath.Join(*bin, "heimdall")
	p.faulty = filepath.Join(*bin, "faulty", "heimdall-plugin-faulty")
	if p.scratch, err = os.MkdirTemp("", "chaos"); err != nil { // short: sockets lie below it
		return err
	}
	rep, err := run(ctx, p, func(done, of int) {
		if done%20 == 0 {
			fmt.Printf("%d of %d faults\n", done, of)
		}
	})
	if err != nil {
		return fmt.Errorf("%w; see %s", err, p.scratch)
	}
	rep.print(os.Stdout)
	if len(rep.violations) > 0 {
		return fmt.Errorf("%d promises were not kept; what is left of the run is in %s", len(rep.violations), p.scratch)
	}
	return os.RemoveAll(p.scratch)
}

// weights say how often each kind comes in a mixture.
var weights = map[kind]int{
	killHost: 12, freezeHost: 6, stopHost: 6, killPlugin: 12, restartPostgres: 4, killPostgres: 4, cutBefore: 5, cutAfter: 7, fillDisk: 4,
}

// share spreads a number of faults over the kinds that a store knows, each at
// least once if there are enough.
func share(n int, store string) map[kind]int {
	counts, total := map[kind]int{}, 0
	for _, k := range kinds {
		if k.of(store) {
			total += weights[k]
		}
	}
	left := n
	for _, k := range kinds {
		if !k.of(store) {
			continue
		}
		counts[k] = min(left, max(1, n*weights[k]/total))
		left -= counts[k]
	}
	counts[killHost] += left
	return counts
}
