package store_test
import ("github.com/jackc/pgx/v5";"testing";"sync";"time";"os";"fmt"
"github.com/heimdall-run/heimdall/host/internal/job"
"github.com/heimdall-run/heimdall/host/internal/store"
"github.com/heimdall-run/heimdall/host/internal/tag"
"github.com/heimdall-run/heimdall/host/internal/pgtest")
func TestZZ(t *testing.T) {
 kind := os.Getenv("ZZ")
 c := store.Config{URL:"sqlite",Dir:t.TempDir()}
 if kind=="postgres" { c = store.Config{URL: pgtest.URL(t)} }
 db := open(t,c)
 e,_ := db.RegisterHost(t.Context(),"h","h")
 var wg sync.WaitGroup
 n := 150000
 start:=time.Now()
 for w := range 128 { wg.Go(func(){ for i:=w;i<n;i+=128 {
   j := &job.Job{ID: job.NewID(), User: fmt.Sprintf("user%d", i%1000), Request: job.Request{Name: fmt.Sprintf("n%d",i), Tags: tag.New(fmt.Sprintf("k:%d", i%100))}, CreatedAt: time.Now()}
   l,err := db.Submit(t.Context(), store.Submission{Job:j,Host:"h",Epoch:e,Claim:true})
   if err!=nil||l==nil { t.Error(err); return }
   st := job.Succeeded; if i%5000==7 { st=job.Failed }
   if err := db.End(t.Context(), job.End{Lease:*l, Outcome: job.Outcome{Status:st, EndedAt: time.Now()}}); err!=nil { t.Error(err) }
 }})}
 wg.Wait()
 t.Log("filled", time.Since(start))
 for i := range 20000 { _ = i; wg.Go(func(){ j := &job.Job{ID: job.NewID(), User:"waiter", Request: job.Request{Name:"w"}, CreatedAt: time.Now()}; db.Submit(t.Context(), store.Submission{Job:j,Host:"h",Epoch:e})})}
 wg.Wait()
 if kind=="postgres" { cc,_ := pgx.Connect(t.Context(), c.URL); for _, tb := range []string{"job","job_end","attempt","job_ready","job_lease"} { cc.Exec(t.Context(), "ANALYZE "+tb) }; cc.Close(t.Context()) }
 for _, f := range []job.Filter{ {}, {Order:job.ByCreatedAt},{Order:job.ByUpdatedAt},{Order:job.ByUpdatedAt,Ascending:true},{Order:job.ByCreatedAt,Ascending:true},{User:"user77"},{User:"user77",Order:job.ByUpdatedAt},{User:"none"},{Name:"n77"},{Name:"%99999%"},{Tags:tag.New("k:5")},{Tags:tag.New("k:none")},{Statuses:[]job.Status{job.Failed}},{Statuses:[]job.Status{job.Failed,job.Killed}, Order:job.ByCreatedAt},{Statuses:[]job.Status{job.Failed}, Order:job.ByUpdatedAt},{Statuses:[]job.Status{job.Killed}, Order:job.ByUpdatedAt},{Statuses:[]job.Status{job.Running}},{Statuses:[]job.Status{job.New}},{Statuses:[]job.Status{job.Succeeded}}, {ID:"0%"} } {
  f.Limit=50
  var best time.Duration = time.Hour; var p job.Page
  for range 6 { s:=time.Now(); var err error; p,err = db.Jobs(t.Context(), f); if err!=nil { t.Error(err) }; best=min(best,time.Since(s)) }
  t.Logf("%-90s %3d rows %v", fmt.Sprintf("%+v",f)[:90], len(p.Jobs), best)
 }
 s:=time.Now(); cl,err := db.Claim(t.Context(),"h",e,100); t.Log("claim 100", len(cl), err, time.Since(s))
 s=time.Now(); cl,err = db.Claim(t.Context(),"h",e,100); t.Log("claim 100", len(cl), err, time.Since(s))
}
