package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sources are what is asked when somebody looks. All must be set; they may be
// called at once.
type Sources struct {
	Queue   func() Queue
	Store   func() (up bool, pools []Pool)
	Plugins func() []Build
	Spool   func() (records int, bytes int64)
	Catalog func() Objects
	// Oldest returns since when the oldest waiting job waits; zero: none does.
	Oldest func(context.Context) (time.Time, error)
}

// Queue is how the queue of this host stands.
type Queue struct {
	Slots, Used int
	Waiting     int           // jobs, on all hosts, as they were counted last; less than 0: they are not counted
	Right       time.Duration // how long this host may still run jobs
	Full        bool          // nothing is begun here, for want of room
}

// Pool is how a pool of connections to the database stands.
type Pool struct {
	Name            string
	Max, Open, Used int
	Waits           int64         // for a connection, ever
	Waited          time.Duration // together
}

// Build is a build of a plugin.
type Build struct {
	Plugin, Version, State string
	Running                int
}

// Objects are what a catalog holds.
type Objects struct {
	Revision           string
	Commands, Clusters int
}

// oldestTime bounds the question for the oldest job, and oldestEvery is how long its
// answer is told: whoever may ask for metrics must not be able to keep the database
// busy.
const (
	oldestTime  = time.Second
	oldestEvery = 5 * time.Second
)

// asked collects what is asked.
type asked struct {
	Sources
	slots, used, waiting, oldest, right, room  *prometheus.Desc
	up, poolMax, poolOpen, poolUsed            *prometheus.Desc
	poolWaits, poolWaited                      *prometheus.Desc
	state, running, spoolRecords, spoolBytes   *prometheus.Desc
	revision, catalogCommands, catalogClusters *prometheus.Desc

	mu     sync.Mutex
	next   time.Time // when the database is asked again
	answer time.Time // the oldest
	failed bool
}

func newAsked(s Sources) *asked {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return &asked{
		Sources: s,
		slots:   d("slots", "Jobs that this host may run at once."),
		used:    d("slots_used", "Slots of this host that jobs have, also more than there are when it follows those of an earlier life."),
		waiting: d("jobs_waiting", "Jobs that wait, on all hosts of the store together, as this host has counted them last."),
		oldest:  d("jobs_waiting_oldest_seconds", "Age of the oldest job that waits and could run, of all hosts of the store; 0 when none waits."),
		right:   d("lease_left_seconds", "How long this host may still run jobs without another word from the database."),
		room:    d("disk_full", "Whether this host begins no jobs because the disk of data_dir is nearly full."),

		up:         d("store_up", "Whether the database answers: 1, else 0."),
		poolMax:    d("store_connections_max", "Connections that a pool may open to the database.", "pool"),
		poolOpen:   d("store_connections_open", "Connections of a pool that are open.", "pool"),
		poolUsed:   d("store_connections_used", "Connections of a pool that are in use.", "pool"),
		poolWaits:  d("store_connection_waits_total", "How often somebody waited for a connection of a pool.", "pool"),
		poolWaited: d("store_connection_wait_seconds_total", "How long they waited together.", "pool"),

		state:        d("plugin_builds", "Builds of plugins by state; what is not active, starting or draining needs somebody to look.", "plugin", "version", "state"),
		running:      d("plugin_attempts_running", "Attempts that run in builds of plugins.", "plugin", "version"),
		spoolRecords: d("spool_records", "Ends of attempts that wait on disk for the database."),
		spoolBytes:   d("spool_bytes", "Size of the spool of ends."),

		revision:        d("catalog_info", "The revision of the catalog in force: always 1. It is the same on all hosts, else they differ.", "revision"),
		catalogCommands: d("catalog_commands", "Commands in the catalog in force."),
		catalogClusters: d("catalog_clusters", "Clusters in the catalog in force."),
	}
}

// Describe implements prometheus.Collector.
func (a *asked) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		a.slots, a.used, a.waiting, a.oldest, a.right, a.room, a.up, a.poolMax, a.poolOpen, a.poolUsed, a.poolWaits, a.poolWaited,
		a.state, a.running, a.spoolRecords, a.spoolBytes, a.revision, a.catalogCommands, a.catalogClusters,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (a *asked) Collect(out chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		tell(d, prometheus.GaugeValue, value, labels...)
	}

	q := a.Queue()
	gauge(a.slots, float64(q.Slots))
	gauge(a.used, float64(q.Used))
	if q.Waiting >= 0 {
		gauge(a.waiting, float64(q.Waiting))
	}
	gauge(a.right, max(q.Right, 0).Seconds())
	gauge(a.room, truth(q.Full))
	if age, ok := a.age(); ok {
		gauge(a.oldest, age.Seconds())
	}

	up, pools := a.Store()
	gauge(a.up, truth(up))
	for _, p := range pools {
		gauge(a.poolMax, float64(p.Max), p.Name)
		gauge(a.poolOpen, float64(p.Open), p.Name)
		gauge(a.poolUsed, float64(p.Used), p.Name)
		tell(a.poolWaits, prometheus.CounterValue, float64(p.Waits), p.Name)
		tell(a.poolWaited, prometheus.CounterValue, p.Waited.Seconds(), p.Name)
	}

	a.plugins(gauge)
	records, bytes := a.Spool()
	gauge(a.spoolRecords, float64(records))
	gauge(a.spoolBytes, float64(bytes))

	c := a.Catalog()
	gauge(a.revision, 1, c.Revision)
	gauge(a.catalogCommands, float64(c.Commands))
	gauge(a.catalogClusters, float64(c.Clusters))
}

// plugins tells of builds. Two of one version may be there, so they are added up.
func (a *asked) plugins(gauge func(*prometheus.Desc, float64, ...string)) {
	type version struct{ plugin, version string }
	states, running := map[Build]int{}, map[version]int{}
	for _, b := range a.Plugins() {
		running[version{b.Plugin, b.Version}] += b.Running
		b.Running = 0
		states[b]++
	}
	for b, n := range states {
		gauge(a.state, float64(n), b.Plugin, b.Version, b.State)
	}
	for v, n := range running {
		gauge(a.running, float64(n), v.plugin, v.version)
	}
}

// age returns how old the oldest waiting job is; false when the database does not say.
func (a *asked) age() (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); !now.Before(a.next) {
		ctx, cancel := context.WithTimeout(context.Background(), oldestTime)
		defer cancel()
		oldest, err := a.Oldest(ctx)
		a.answer, a.failed, a.next = oldest, err != nil, now.Add(oldestEvery)
	}
	switch {
	case a.failed:
		return 0, false
	case a.answer.IsZero():
		return 0, true
	}
	return max(time.Since(a.answer), 0), true
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
