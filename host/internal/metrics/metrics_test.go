package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/host/internal/metrics"
)

// host is what metrics ask in these tests.
type host struct {
	waiting int
	oldest  time.Time
	err     error
	asked   atomic.Int32 // for the oldest
	builds  []metrics.Build
}

func (h *host) sources() metrics.Sources {
	return metrics.Sources{
		Queue: func() metrics.Queue {
			return metrics.Queue{Slots: 64, Used: 3, Waiting: h.waiting, Right: 8 * time.Second, Full: true}
		},
		Store: func() (bool, []metrics.Pool) {
			return true, []metrics.Pool{{Name: "work", Max: 16, Open: 4, Used: 2, Waits: 7, Waited: 1500 * time.Millisecond}}
		},
		Plugins: func() []metrics.Build { return h.builds },
		Spool:   func() (int, int64) { return 2, 1024 },
		Catalog: func() metrics.Objects { return metrics.Objects{Revision: "abc", Commands: 5, Clusters: 6} },
		Oldest: func(context.Context) (time.Time, error) {
			h.asked.Add(1)
			return h.oldest, h.err
		},
	}
}

// newMetrics returns metrics to which everything has happened once.
func newMetrics(h *host) *metrics.Metrics {
	m := metrics.New(metrics.Config{Version: "1.2.3", Plugin: func(string) string { return "ping" }, Sources: h.sources()})
	begun := time.Now()
	j := &job.Job{Pair: job.Pair{CommandID: "ping-1", ClusterID: "local"}}
	c := job.Claimed{Job: j}
	ended := job.Outcome{Status: job.Succeeded, StartedAt: begun, EndedAt: begun.Add(2 * time.Second)}
	failed := ended
	failed.Status, failed.Error = job.Failed, &job.Error{Class: job.Unavailable}
	m.Jobs.Submitted(j)
	m.Jobs.Waited(j, 20*time.Millisecond)
	m.Jobs.Ended(c, failed, true)
	m.Jobs.Ended(c, ended, false)
	m.Jobs.Resumed(c, failed)
	m.Jobs.Passed(job.Canceled, 2)
	m.Jobs.Taken(3, 1)
	m.Store.Wrote("submit", time.Millisecond, false)
	m.Store.Wrote("end", time.Second, true)
	m.Store.Combined("submit", 12)
	m.Plugins.Restarted("ping", "crash")
	m.Plugins.Called("ping", "Ack", "OK", time.Millisecond)
	m.Catalog.Loaded(nil)
	m.HTTP.Request("GET", "/api/v1/job/{id}")(404)
	return m
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status = %d, want 200: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// wantLines fails for each line that is not there.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	there := strings.Split(text, "\n")
	for _, line := range lines {
		if !slices.Contains(there, line) {
			t.Errorf("there is no line %s", line)
		}
	}
}

func TestWhatIsTold(t *testing.T) {
	h := &host{waiting: 40, oldest: time.Now().Add(-time.Hour), builds: []metrics.Build{
		{Plugin: "ping", Version: "1.0.0", State: "active", Running: 2},
		{Plugin: "ping", Version: "1.0.0", State: "draining", Running: 1},
		{Plugin: "ping", Version: "1.0.0", State: "draining"},
	}}
	text := scrape(t, newMetrics(h))
	wantLines(t, text,
		`heimdall_jobs_submitted_total{cluster="local",command="ping-1"} 1`,
		`heimdall_jobs_finished_total{class="",cluster="local",command="ping-1",plugin="ping",status="SUCCEEDED"} 1`,
		`heimdall_job_retries_total{class="unavailable",command="ping-1"} 1`,
		`heimdall_job_resumes_total{command="ping-1"} 1`,
		`heimdall_job_run_seconds_sum{cluster="local",plugin="ping",status="FAILED"} 4`,
		`heimdall_job_wait_seconds_bucket{le="0.025"} 1`,
		`heimdall_job_wait_seconds_bucket{le="0.01"} 0`,
		`heimdall_jobs_never_run_total{status="CANCELED"} 2`,
		`heimdall_jobs_of_lost_hosts_total{fate="again"} 3`,
		`heimdall_jobs_waiting 40`,
		`heimdall_slots_used 3`,
		`heimdall_lease_left_seconds 8`,
		`heimdall_disk_full 1`,
		`heimdall_store_up 1`,
		`heimdall_store_write_failures_total{kind="end"} 1`,
		`heimdall_store_batch_members_sum{kind="submit"} 12`,
		`heimdall_store_connections_used{pool="work"} 2`,
		`heimdall_store_connection_wait_seconds_total{pool="work"} 1.5`,
		`heimdall_plugin_builds{plugin="ping",state="draining",version="1.0.0"} 2`,
		`heimdall_plugin_attempts_running{plugin="ping",version="1.0.0"} 3`,
		`heimdall_plugin_restarts_total{plugin="ping",reason="crash"} 1`,
		`heimdall_plugin_call_seconds_count{code="OK",method="Ack",plugin="ping"} 1`,
		`heimdall_spool_bytes 1024`,
		`heimdall_catalog_info{revision="abc"} 1`,
		`heimdall_catalog_last_load_success 1`,
		`heimdall_http_requests_total{code="404",method="GET",route="/api/v1/job/{id}"} 1`,
		`heimdall_http_requests_in_flight 0`,
	)
	age := regexp.MustCompile(`(?m)^heimdall_jobs_waiting_oldest_seconds 36\d\d`)
	if !age.MatchString(text) {
		t.Error("the oldest job is not an hour old")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Whoever may read metrics cannot keep the database busy, and its absence is no 0.
func TestTheDatabaseIsAskedNowAndThen(t *testing.T) {
	h := &host{waiting: -1, err: errors.New("away")}
	m := newMetrics(h)
	for range 5 {
		text := scrape(t, m)
		for _, name := range []string{"heimdall_jobs_waiting_oldest_seconds ", "heimdall_jobs_waiting "} {
			if strings.Contains(text, "\n"+name) {
				t.Errorf("%s is told, want nothing of what is not known", name)
			}
		}
	}
	if n := h.asked.Load(); n != 1 {
		t.Errorf("the database was asked %d times, want 1", n)
	}
}

// What comes from catalogs and callers makes no more series than there may be.
func TestLabelsAreBounded(t *testing.T) {
	m := newMetrics(&host{})
	for i := range 2000 {
		j := &job.Job{Pair: job.Pair{CommandID: fmt.Sprint("command-", i), ClusterID: fmt.Sprint("cluster-", i)}}
		m.Jobs.Submitted(j)
		m.Jobs.Ended(job.Claimed{Job: j}, job.Outcome{Status: job.Succeeded, StartedAt: time.Now(), EndedAt: time.Now()}, false)
		m.HTTP.Request(fmt.Sprint("METHOD", i), "")(405)
	}
	m.Jobs.Submitted(&job.Job{Pair: job.Pair{CommandID: "ping-1", ClusterID: "local"}})
	text := scrape(t, m)
	for name, most := range map[string]int{"heimdall_jobs_submitted_total{": 501, "heimdall_job_run_seconds_count{": 102, "heimdall_http_requests_total{": 2} {
		if n := strings.Count(text, "\n"+name); n > most {
			t.Errorf("%s has %d series, want at most %d", name, n, most)
		}
	}
	wantLines(t, text,
		`heimdall_jobs_submitted_total{cluster="local",command="ping-1"} 2`,
		`heimdall_jobs_submitted_total{cluster="other",command="other"} 1501`,
		`heimdall_http_requests_total{code="405",method="other",route="other"} 2000`,
	)
}

// A load that is refused leaves the time of the one before.
func TestRefusedLoads(t *testing.T) {
	m := newMetrics(&host{})
	loaded := regexp.MustCompile(`(?m)^heimdall_catalog_last_load_timestamp_seconds .*$`)
	before := loaded.FindString(scrape(t, m))
	m.Catalog.Loaded(errors.New("a fault"))
	text := scrape(t, m)
	wantLines(t, text, "heimdall_catalog_last_load_success 0", `heimdall_catalog_loads_total{outcome="refused"} 1`, before)
}

// The table for operators has every metric with its labels, and no other.
func TestDocumentedMetrics(t *testing.T) {
	const page = "../../../docs/operations.md"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `(heimdall_[a-z_]+)` \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(string(content), -1) {
		labels := strings.Fields(strings.ReplaceAll(m[2], "`", ""))
		slices.Sort(labels)
		documented[m[1]] = append([]string{}, labels...)
	}
	told := map[string][]string{}
	series := regexp.MustCompile(`(?m)^(heimdall_[a-z_]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? [^ ]+$`)
	label := regexp.MustCompile(`([a-z]+)="`)
	for _, m := range series.FindAllStringSubmatch(scrape(t, newMetrics(&host{builds: []metrics.Build{{Plugin: "ping"}}})), -1) {
		labels := []string{}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		told[m[1]] = labels
	}
	if diff := cmp.Diff(documented, told); diff != "" {
		t.Errorf("%s and the metrics differ (-documented +told):\n%s", page, diff)
	}
	// What the alerts name is there, too.
	named := regexp.MustCompile(`heimdall_[a-z_]+`)
	for _, name := range named.FindAllString(string(content), -1) {
		if told[name] == nil {
			t.Errorf("%s names %s, which is not there", page, name)
		}
	}
}
