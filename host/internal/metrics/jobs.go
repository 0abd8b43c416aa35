package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// How many values labels have that the catalog brings: of what counts, of what
// has a dozen series for each.
const (
	mostCounted = 500
	mostTimed   = 100
)

// Jobs counts jobs. It is told by the queue.
type Jobs struct {
	plugin             func(command string) string
	commands, clusters *bounded
	timed              *bounded // clusters, too

	submitted *prometheus.CounterVec
	waited    prometheus.Observer
	finished  *prometheus.CounterVec
	retried   *prometheus.CounterVec
	resumed   *prometheus.CounterVec
	ran       *prometheus.HistogramVec
	passed    *prometheus.CounterVec
	taken     *prometheus.CounterVec
}

func newJobs(r prometheus.Registerer, plugin func(string) string) *Jobs {
	return &Jobs{
		plugin:   plugin,
		commands: newBounded(mostCounted),
		clusters: newBounded(mostCounted),
		timed:    newBounded(mostTimed),
		submitted: counter(r, "jobs_submitted_total",
			"Jobs that were submitted to this host and recorded.", "command", "cluster"),
		waited: histogram(r, "job_wait_seconds",
			"How long jobs waited until this host claimed their first attempt, from when they were submitted, or were to start.",
			times()).WithLabelValues(),
		finished: counter(r, "jobs_finished_total",
			"Jobs that ended on this host, by status and class of error.", "command", "cluster", "plugin", "status", "class"),
		retried: counter(r, "job_retries_total",
			"Attempts that failed on this host and are followed by another one.", "command", "class"),
		resumed: counter(r, "job_resumes_total",
			"Attempts that were lost on this host, and whose work another one goes on with here.", "command"),
		ran: histogram(r, "job_run_seconds",
			"How long attempts ran on this host, also those that are retried.", times(), "plugin", "cluster", "status"),
		passed: counter(r, "jobs_never_run_total",
			"Jobs that ended while they waited: canceled, or killed by their deadline.", "status"),
		taken: counter(r, "jobs_of_lost_hosts_total",
			"Jobs that this host took from lost hosts: they run again elsewhere, or have ended.", "fate"),
	}
}

// Submitted counts a job that was recorded.
func (m *Jobs) Submitted(j *job.Job) {
	m.submitted.WithLabelValues(m.commands.of(j.Pair.CommandID), m.clusters.of(j.Pair.ClusterID)).Inc()
}

// Waited counts how long a job has waited for its first attempt.
func (m *Jobs) Waited(_ *job.Job, d time.Duration) { m.waited.Observe(max(d, 0).Seconds()) }

// Ended counts an attempt, and the end of its job unless there is to be another.
func (m *Jobs) Ended(c job.Claimed, o job.Outcome, again bool) {
	pair, plugin, class := c.Job.Pair, m.plugin(c.Job.Pair.CommandID), ""
	if o.Error != nil {
		class = string(o.Error.Class)
	}
	command, status := m.commands.of(pair.CommandID), string(o.Status)
	m.took(c, o)
	if again {
		m.retried.WithLabelValues(command, class).Inc()
		return
	}
	m.finished.WithLabelValues(command, m.clusters.of(pair.ClusterID), plugin, status, class).Inc()
}

// Resumed counts an attempt whose work another one goes on with.
func (m *Jobs) Resumed(c job.Claimed, o job.Outcome) {
	m.took(c, o)
	m.resumed.WithLabelValues(m.commands.of(c.Job.Pair.CommandID)).Inc()
}

// took counts how long an attempt has run.
func (m *Jobs) took(c job.Claimed, o job.Outcome) {
	if took := o.EndedAt.Sub(o.StartedAt); !o.StartedAt.IsZero() && took >= 0 {
		pair := c.Job.Pair
		m.ran.WithLabelValues(m.plugin(pair.CommandID), m.timed.of(pair.ClusterID), string(o.Status)).Observe(took.Seconds())
	}
}

// Passed counts jobs that ended and never ran, or not any more.
func (m *Jobs) Passed(s job.Status, n int) { m.passed.WithLabelValues(string(s)).Add(float64(n)) }

// Taken counts jobs of a lost host.
func (m *Jobs) Taken(again, ended int) {
	m.taken.WithLabelValues("again").Add(float64(again))
	m.taken.WithLabelValues("ended").Add(float64(ended))
}
