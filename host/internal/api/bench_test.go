package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/api"
)

// What a sync submit costs here, without the network and the job.
func BenchmarkSubmit(b *testing.B) {
	f := newFake()
	f.sync, f.auto = true, greet
	h := api.New(api.Config{Jobs: f, Auth: believer{}})
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/api/v1/job", strings.NewReader(ping))
		r.Header.Set("X-Heimdall-User", "test_user")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("status = %d, want 200: %s", w.Code, w.Body)
		}
		clear(f.jobs)
		clear(f.ended)
		f.submitted = f.submitted[:0]
	}
}
