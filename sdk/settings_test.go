package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// warehouse is a plugin with settings of every sort.
type warehouse struct {
	Connection

	Timeout  sdk.Duration      `json:"timeout" doc:"How long a query may take."`
	Retries  uint              `json:"retries,omitempty"`
	Ratio    *float64          `json:"ratio"`
	Labels   map[string]string `json:"labels"`
	Hosts    []host1           `json:"hosts"`
	Since    time.Time         `json:"since"`
	Anything any               `json:"anything"`
	Raw      json.RawMessage   `json:"raw"`
	Key      []byte            `json:"key" secret:"true"`
	Hidden   chan int          `json:"-"`
}

type Connection struct {
	Account  string `json:"account" required:"true" placement:"cluster"`
	Password string `json:"password" secret:"true"`
}

type host1 struct {
	Name string `json:"name" required:"true"`
	Port int    `json:"port"`
}

type query struct {
	Query string       `json:"query" required:"true" doc:"SQL text."`
	Limit int          `json:"limit"`
	Wait  sdk.Duration `json:"wait"`
}

func (q *query) Default() { q.Limit = 100 }

func newWarehouse() *warehouse { return &warehouse{Timeout: sdk.Duration(time.Minute)} }

func (w *warehouse) Run(_ context.Context, job *sdk.Job[query]) error {
	return job.Text(fmt.Sprint(w.Account, " ", w.Password, " ", w.Timeout, " ", w.Hosts, " ", w.Anything, " ", job.Input.Query, " ", job.Input.Limit))
}

func TestSettingsAndInput(t *testing.T) {
	t.Parallel()

	const settings = `{"account":"acme"}`
	tests := map[string]struct {
		settings string
		input    string
		class    sdk.Class // empty: none
		want     string
	}{
		"least": {settings, `{"query":"q"}`, "", "acme  1m0s [] <nil> q 100"},
		"more": {
			`{"account":"acme","timeout":"5s","hosts":[{"name":"h","port":1}],"anything":12345678901234567890}`,
			`{"query":"q","limit":2}`, "", "acme  5s [{h 1}] 12345678901234567890 q 2",
		},
		"missing setting":   {`{}`, `{"query":"q"}`, sdk.Internal, `settings: key "account" is missing`},
		"unknown setting":   {`{"account":"a","acount":1}`, `{"query":"q"}`, sdk.Internal, `settings: unknown key "acount"; known: account, password`},
		"unknown below":     {`{"account":"a","hosts":[{"name":"h","prt":1}]}`, `{"query":"q"}`, sdk.Internal, `settings: unknown key "prt" in /hosts/0; known: name, port`},
		"other case":        {`{"Account":"a"}`, `{"query":"q"}`, sdk.Internal, `settings: unknown key "Account"`},
		"wrong type":        {`{"account":1}`, `{"query":"q"}`, sdk.Internal, `settings: /account must be a string, got an integer`},
		"null":              {`{"account":null}`, `{"query":"q"}`, sdk.Internal, `settings: /account must be a string, got null`},
		"negative":          {`{"account":"a","retries":-1}`, `{"query":"q"}`, sdk.Internal, `settings: /retries does not fit`},
		"number of seconds": {`{"account":"a","timeout":5}`, `{"query":"q"}`, sdk.Internal, `settings: /timeout must be a string, got an integer`},
		"bad duration":      {`{"account":"a","timeout":"5 s"}`, `{"query":"q"}`, sdk.Internal, `"5 s" is not a duration: write a string such as "30s"`},
		"not an object":     {`[]`, `{"query":"q"}`, sdk.Internal, `settings: the whole must be an object, got an array`},
		"two objects":       {`{} {}`, `{"query":"q"}`, sdk.Internal, `settings: not JSON`},
		"missing input":     {settings, `{}`, sdk.Invalid, `input: key "query" is missing`},
		"unknown input":     {settings, `{"query":"q","x":1}`, sdk.Invalid, `input: unknown key "x"; known: query, limit, wait`},
		"wrong input":       {settings, `{"query":["q"]}`, sdk.Invalid, `input: /query must be a string, got an array`},
		"fraction":          {settings, `{"query":"q","limit":1.5}`, sdk.Invalid, `input: /limit must be an integer, got a number`},
		"too large":         {settings, `{"query":"q","limit":99999999999999999999}`, sdk.Invalid, `input: /limit does not fit`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := sdktest.Run(t, newWarehouse, json.RawMessage(test.settings), json.RawMessage(test.input))
			switch {
			case test.class == "" && (got.Err != nil || got.Text != test.want):
				t.Errorf("got %q and %v, want %q", got.Text, got.Err, test.want)
			case test.class != "" && (got.Err == nil || got.Err.Class != test.class || !strings.Contains(got.Err.Message, test.want)):
				t.Errorf("Err = %+v, want %s %q", got.Err, test.class, test.want)
			}
		})
	}
}

func TestSecretsArePutIntoSettings(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, newWarehouse, json.RawMessage(`{"hosts":[{"port":1}]}`), query{Query: "q"},
		sdktest.Secret("/password", "p\"w"),
		sdktest.Secret("/account", "acme"),
		sdktest.Secret("/hosts/0/name", "h"),
		sdktest.Secret("/anything/a~1b", "x"))
	if want := `acme p"w 1m0s [{h 1}] map[a/b:x] q 0`; got.Text != want {
		t.Errorf("got %q and %v, want %q", got.Text, got.Err, want)
	}

	got = sdktest.Run(t, newWarehouse, json.RawMessage(`{"account":"a"}`), query{Query: "q"}, sdktest.Secret("/hosts/3/name", "top secret"))
	if got.Err == nil || strings.Contains(got.Err.Message+got.Err.Detail, "top secret") {
		t.Errorf("Err = %v, want one without the secret", got.Err)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()

	h := newHost(t, newWarehouse, sdk.Configure(func(*query) error { return nil }))
	got, err := h.Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const dialect = `"$schema":"https://json-schema.org/draft/2020-12/schema",`
	const duration = `"pattern":"^[-+]?([0-9]+(\\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$","type":"string"}`
	const input = `{` + dialect + `"additionalProperties":false,"properties":{"limit":{"default":100,"type":"integer"},` +
		`"query":{"description":"SQL text.","type":"string"},"wait":{` + duration + `},"required":["query"],"type":"object"}`
	const settings = `{` + dialect + `"additionalProperties":false,"properties":{` +
		`"account":{"type":"string","x-heimdall-placement":"cluster"},` +
		`"anything":{},` +
		`"hosts":{"items":{"additionalProperties":false,"properties":{"name":{"type":"string"},"port":{"type":"integer"}},"required":["name"],"type":"object"},"type":"array"},` +
		`"key":{"contentEncoding":"base64","type":"string","x-heimdall-secret":true},` +
		`"labels":{"additionalProperties":{"type":"string"},"type":"object"},` +
		`"password":{"type":"string","x-heimdall-secret":true},` +
		`"ratio":{"type":["number","null"]},` +
		`"raw":{},` +
		`"retries":{"minimum":0,"type":"integer"},` +
		`"since":{"format":"date-time","type":"string"},` +
		`"timeout":{"default":"1m0s","description":"How long a query may take.",` + duration + `},` +
		`"required":["account"],"type":"object"}`
	if got.GetSettingsSchema() != settings {
		t.Errorf("settings schema\n got %s\nwant %s", got.GetSettingsSchema(), settings)
	}
	if got.GetInputSchema() != input {
		t.Errorf("input schema\n got %s\nwant %s", got.GetInputSchema(), input)
	}
	if !strings.Contains(got.GetPluginSettingsSchema(), `"query"`) {
		t.Errorf("plugin settings schema = %s, want that of the option", got.GetPluginSettingsSchema())
	}
}

func TestSchemaOfNone(t *testing.T) {
	t.Parallel()

	h := newHost(t, func() *greeter { return &greeter{} }, sdk.Version("1.2.3-rc.1"), sdk.Docs("# Greeter"), sdk.ReadOnly(), sdk.RetrySafe(), sdk.PerJob(),
		sdk.Examples(sdk.Example{Kind: sdk.Quick, Title: "greets", Input: map[string]int{"a": 1}}))
	got, err := h.Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":true,"type":"object"}`
	if got.GetInputSchema() != want || got.GetSettingsSchema() != strings.Replace(want, "true", "false", 1) {
		t.Errorf("got %s and %s, want an open and a closed object", got.GetInputSchema(), got.GetSettingsSchema())
	}
	if got.GetName() != "test" || got.GetVersion() != "1.2.3-rc.1" || got.GetDocs() == "" || !got.GetCapabilities().GetReadOnly() ||
		!got.GetCapabilities().GetRetrySafe() || len(got.GetCapabilities().GetIsolation()) != 1 || string(got.GetExamples()[0].GetInput()) != `{"a":1}` {
		t.Errorf("got %v, want what the options say", got)
	}
}

type restInput struct {
	Known string   `json:"known"`
	Rest  sdk.Rest `json:"-"`
}

type resting struct{}

func (*resting) Run(_ context.Context, job *sdk.Job[restInput]) error {
	return job.Text(fmt.Sprintf("%s %s", job.Input.Known, job.Input.Rest))
}

func TestRestTakesUnknownKeys(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, func() *resting { return &resting{} }, nil, map[string]any{"known": "k", "x": []int{1}})
	if want := "k map[x:[1]]"; got.Text != want {
		t.Errorf("got %q and %v, want %q", got.Text, got.Err, want)
	}
}

type badSettings struct {
	Every time.Duration `json:"every"`
}

func (*badSettings) Run(context.Context, *sdk.Job[sdk.None]) error { return nil }

type loop struct {
	Next *loop `json:"next"`
}

func (*loop) Run(context.Context, *sdk.Job[sdk.None]) error { return nil }

func TestNewRefuses(t *testing.T) {
	t.Parallel()

	ping := func() *greeter { return &greeter{} }
	tests := map[string]struct {
		make func() error
		want string
	}{
		"bad name":     {func() error { _, err := sdk.New("Ping", ping); return err }, "small letters"},
		"bad version":  {func() error { _, err := sdk.New("ping", ping, sdk.Version("v1")); return err }, "semantic version"},
		"nil plugin":   {func() error { _, err := sdk.New("ping", func() *greeter { return nil }); return err }, "not nil"},
		"bare time":    {func() error { _, err := sdk.New("ping", func() *badSettings { return &badSettings{} }); return err }, "use sdk.Duration"},
		"endless type": {func() error { _, err := sdk.New("ping", func() *loop { return &loop{} }); return err }, "contains itself"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if err := test.make(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// pool counts what happens to it.
type pool struct {
	Name   string `json:"name"`
	opens  *atomic.Int32
	closes *atomic.Int32
	broken *atomic.Bool
}

func (p *pool) Open(context.Context) error {
	p.opens.Add(1)
	if p.broken.Load() {
		return errors.New("connection refused")
	}
	return nil
}

func (p *pool) Check(context.Context) error {
	if p.Name == "sick" {
		return errors.New("it is sick")
	}
	if p.Name == "panics" {
		panic("oh")
	}
	return nil
}

func (p *pool) Close() error {
	p.closes.Add(1)
	return nil
}

func (p *pool) Cleanup(_ context.Context, remains sdk.Remains) error {
	var id string
	if ok, err := remains.Load(&id); err != nil || !ok {
		return fmt.Errorf("Load: %v, %w", ok, err)
	}
	return errors.New("cannot remove " + id)
}

func (p *pool) Run(_ context.Context, job *sdk.Job[sdk.None]) error { return job.Text(p.Name) }

func TestInstances(t *testing.T) {
	t.Parallel()

	var opens, closes atomic.Int32
	var broken atomic.Bool
	h := newHost(t, func() *pool { return &pool{opens: &opens, closes: &closes, broken: &broken} })
	start := func(id, settings string) *pluginpb.Error {
		request := h.request(id)
		request.Settings = []byte(settings)
		return h.start(request).end()
	}

	broken.Store(true)
	if err := start("a", `{"name":"x"}`); err.GetClass() != pluginpb.ErrorClass_ERROR_CLASS_UNAVAILABLE || !err.GetRetrySafe() {
		t.Errorf("got %v, want unavailable and safe to retry", err)
	}
	broken.Store(false)
	for i, settings := range []string{`{"name":"x"}`, `{"name":"x"}`, `{"name":"y"}`} {
		if err := start(fmt.Sprint(i), settings); err != nil {
			t.Errorf("got %v, want no error", err)
		}
	}
	if got := opens.Load(); got != 3 {
		t.Errorf("opened %d times, want once for the failure and once for each settings", got)
	}
	h.server.Shutdown(t.Context(), time.Second)
	if got := closes.Load(); got != 2 {
		t.Errorf("closed %d times, want 2", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()

	var counter atomic.Int32
	var broken atomic.Bool
	h := newHost(t, func() *pool { return &pool{opens: &counter, closes: &counter, broken: &broken} })
	tests := map[string]struct {
		settings string
		want     string // detail; empty: it is well
	}{
		"well":   {`{"name":"x"}`, ""},
		"sick":   {`{"name":"sick"}`, "it is sick"},
		"panics": {`{"name":"panics"}`, "panic: oh"},
		"wrong":  {`{"nme":"x"}`, `settings: unknown key "nme"; known: name`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := h.Check(t.Context(), &pluginpb.CheckRequest{Settings: []byte(test.settings)})
			if err != nil || got.GetOk() != (test.want == "") || !got.GetChecked() || got.GetDetail() != test.want {
				t.Errorf("got %v and %v, want %q", got, err, test.want)
			}
		})
	}

	plain := newHost(t, func() *greeter { return &greeter{} })
	got, err := plain.Check(t.Context(), &pluginpb.CheckRequest{})
	if err != nil || !got.GetOk() || got.GetChecked() {
		t.Errorf("got %v and %v, want unchecked", got, err)
	}
}

func TestCleanup(t *testing.T) {
	t.Parallel()

	var counter atomic.Int32
	var broken atomic.Bool
	h := newHost(t, func() *pool { return &pool{opens: &counter, closes: &counter, broken: &broken} })
	_, err := h.Cleanup(t.Context(), &pluginpb.CleanupRequest{AttemptId: "a", Checkpoint: &pluginpb.Checkpoint{Format: 1, Data: []byte(`"table t"`)}})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "cannot remove table t") {
		t.Errorf("got %v, want the plugin's error", err)
	}

	plain := newHost(t, func() *greeter { return &greeter{} })
	if _, err := plain.Cleanup(t.Context(), &pluginpb.CleanupRequest{AttemptId: "a"}); err != nil {
		t.Errorf("got %v, want nothing to do", err)
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()

	var got atomic.Pointer[query]
	h := newHost(t, func() *greeter { return &greeter{} }, sdk.Configure(func(q *query) error {
		got.Store(q)
		return nil
	}))
	for _, test := range []struct {
		settings   string
		generation int64
		code       codes.Code
		want       string
	}{
		{`{"query":"a"}`, 2, codes.OK, "a"},
		{`{"query":"b"}`, 1, codes.OK, "a"},
		{`{"querry":"c"}`, 3, codes.InvalidArgument, "a"},
		{`{"query":"d"}`, 3, codes.OK, "d"},
	} {
		_, err := h.Configure(t.Context(), &pluginpb.ConfigureRequest{Settings: []byte(test.settings), Generation: test.generation})
		if status.Code(err) != test.code || got.Load().Query != test.want {
			t.Errorf("%s: got %v and %q, want %v and %q", test.settings, err, got.Load().Query, test.code, test.want)
		}
	}

	plain := newHost(t, func() *greeter { return &greeter{} })
	if _, err := plain.Configure(t.Context(), &pluginpb.ConfigureRequest{Settings: []byte(`{}`)}); err != nil {
		t.Errorf("empty settings: got %v, want no error", err)
	}
	if _, err := plain.Configure(t.Context(), &pluginpb.ConfigureRequest{Settings: []byte(`{"a":1}`)}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("settings that nobody takes: got %v, want InvalidArgument", err)
	}
}

func TestUpdateSecrets(t *testing.T) {
	t.Parallel()

	changed := make(chan struct{})
	h := newHost(t, script(func(_ context.Context, job *rawJob) error {
		<-changed
		token, _ := job.Secret("/token")
		return job.Text(token.Reveal())
	}))
	request := h.request("a")
	s := h.start(request)
	s.until(func(e *pluginpb.Event) bool { return e.GetStarted() != nil })
	_, err := h.UpdateSecrets(t.Context(), &pluginpb.UpdateSecretsRequest{AttemptId: "a", Secrets: []*pluginpb.Secret{{Pointer: "/token", Value: []byte("new")}}})
	if err != nil {
		t.Fatal(err)
	}
	close(changed)
	s.until(func(e *pluginpb.Event) bool {
		return strings.Contains(string(e.GetResult().GetInline()), `[["new"]]`)
	})
}
