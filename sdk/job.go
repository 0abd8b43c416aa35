package sdk

import (
	"io"
	"log/slog"
	"net/url"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Job is one attempt to perform a job, as Run sees it. It is worth nothing after
// Run has returned. Its methods may be called concurrently, but a result is
// written by one goroutine at a time.
type Job[Input any] struct {
	ID          string // of the job, a UUID
	Name        string // that the caller gave, as are the next three
	Version     string
	Description string
	Tags        []string // sorted
	Attempt     int      // ordinal within the job, from 1
	AttemptID   string   // unique over all hosts and times
	User        string   // who submitted the job
	Groups      []string // of the user, sorted
	Input       Input    // what the caller wrote
	Command     Object
	Cluster     Object

	// Resume says that only the outside work of an earlier attempt may be
	// followed, from its checkpoint: no new work may begin, and if the old one is
	// gone the job fails with Lost. Only plugins with the option Resume see it.
	Resume bool

	Stdout *Stream
	Stderr *Stream
	Log    *slog.Logger // the plugin's log, for its operator

	a *attempt
}

func newJob[Input any](a *attempt) *Job[Input] {
	request := a.request
	info := request.GetJob()
	return &Job[Input]{
		ID:          info.GetId(),
		Name:        info.GetName(),
		Version:     info.GetVersion(),
		Description: info.GetDescription(),
		Tags:        info.GetTags(),
		Attempt:     int(request.GetAttemptNumber()),
		AttemptID:   a.id,
		User:        request.GetUser().GetName(),
		Groups:      request.GetUser().GetGroups(),
		Command:     object(request.GetCommand()),
		Cluster:     object(request.GetCluster()),
		Resume:      request.GetMode() == pluginpb.StartMode_START_MODE_RESUME,
		Stdout:      &a.stdout,
		Stderr:      &a.stderr,
		Log:         a.logger(),
		a:           a,
	}
}

func object(o *pluginpb.ObjectInfo) Object {
	return Object{ID: o.GetId(), Name: o.GetName(), Version: o.GetVersion(), Tags: o.GetTags()}
}

// InputJSON returns the input as the caller wrote it, a JSON object. It must not
// be changed.
func (j *Job[Input]) InputJSON() []byte {
	if input := j.a.request.GetInput(); len(input) > 0 {
		return input
	}
	return []byte("{}")
}

// Secret returns the newest value of a secret of the settings by its JSON pointer,
// such as "/password". Secrets may be replaced while a long job runs; the fields
// of the plugin keep the first value.
func (j *Job[Input]) Secret(pointer string) (Secret, bool) { return j.a.secret(pointer) }

// TraceParent returns the W3C trace context that the job belongs to, as the header
// traceparent has it, to be passed on to what it calls; "" when there is none.
func (j *Job[Input]) TraceParent() string { return j.a.request.GetTraceparent() }

// Dir returns the job's own folder, which the first call makes. It goes away
// some time after the job.
func (j *Job[Input]) Dir() (string, error) { return j.a.dir() }

// Files returns the files that came with the job. They are read-only.
func (j *Job[Input]) Files() []File {
	var out []File
	for _, f := range j.a.request.GetInputs() {
		out = append(out, File{Name: f.GetName(), Path: f.GetPath(), Size: f.GetSize(), ContentType: f.GetContentType()})
	}
	return out
}

// File is a file that came with a job.
type File struct {
	Name        string // that the caller gave, without folders
	Path        string // where it lies
	Size        int64
	ContentType string
}

// Exec returns a program to run in the job's folder. It writes to Stdout and
// Stderr, gets a clean environment with HEIMDALL_JOB_ID, HEIMDALL_ATTEMPT,
// HEIMDALL_USER and, where the job belongs to a trace, TRACEPARENT, and is stopped with its whole tree of processes when ctx of Run
// is canceled: SIGTERM first, SIGKILL after the grace time. Its fields may be
// changed before Start. What still runs when Run returns is killed.
func (j *Job[Input]) Exec(name string, args ...string) *Cmd { return j.a.command(name, args) }

// Text makes a text the result: a table of one cell.
func (j *Job[Input]) Text(text string) error { return j.a.setText(text) }

// Table begins a table as the result.
func (j *Job[Input]) Table(columns ...Column) *Table { return j.a.newTable(columns) }

// Result begins a document as the result, which ends with Close or with Run. Only
// the last of several results counts. A media type that cannot be read becomes
// application/octet-stream.
func (j *Job[Input]) Result(contentType string) io.WriteCloser {
	return j.a.newSink(contentType, "result")
}

// ResultFile makes a regular file in the job's folder the result. The path is
// relative to that folder or inside it. A file that holds a table has TableType
// and a number of rows; other files have 0 rows. The file must not be changed
// afterwards.
func (j *Job[Input]) ResultFile(contentType, path string, rows int64) error {
	return j.a.setFile(contentType, path, rows)
}

// TableType is the media type of tables: {"columns":[{"name","type"}],"data":[[…]]}.
const TableType = tableType

// Progress tells how far the work is; a total of 0 means that it is not known.
func (j *Job[Input]) Progress(done, total float64, message string) {
	j.a.log.add(&pluginpb.Event{Kind: &pluginpb.Event_Progress{Progress: &pluginpb.Progress{
		Done:    done,
		Total:   total,
		Message: clip(message, maxMessage),
	}}}, false)
}

// Output shows a named text with the job. A later one of the same key replaces
// it. A job can show some hundreds; more are dropped.
func (j *Job[Input]) Output(key, value string) {
	j.a.output(key, value, pluginpb.OutputKind_OUTPUT_KIND_TEXT)
}

// Link shows a named http or https address with the job. Any other address is
// shown as text.
func (j *Job[Input]) Link(key, address string) {
	kind := pluginpb.OutputKind_OUTPUT_KIND_TEXT
	if u, err := url.Parse(address); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		kind = pluginpb.OutputKind_OUTPUT_KIND_LINK
	}
	j.a.output(key, address, kind)
}

func (a *attempt) output(key, value string, kind pluginpb.OutputKind) {
	number := a.log.add(&pluginpb.Event{Kind: &pluginpb.Event_Output{Output: &pluginpb.Output{
		Key:   clip(key, maxMessage),
		Value: clip(value, maxMessage),
		Kind:  kind,
	}}}, false)
	if number == 0 {
		a.logger().Warn("output dropped: the job has ended or shows too many", "key", key)
	}
}

// Usage adds to what the job has used of a unit, such as "rows" or "credits".
func (j *Job[Input]) Usage(unit string, amount float64) { j.a.addUsage(unit, amount) }

// Save hands the host what another process needs to go on with the same outside
// work, in place of what was saved before. It returns when the host holds it
// durably, which waits while the host's database is away, or an error that says
// why the host does not: the job is stopped, or the host keeps no checkpoints. It
// is written as JSON of at most 64 KiB and must hold no secret. Save the intent
// before the side effect wherever the other side takes an id that the client
// chose.
func (j *Job[Input]) Save(v any) error { return j.a.save(v) }

// Load reads what an earlier attempt saved last and reports whether there is any,
// which is so when Resume is set. What cannot be read is an error of class Lost.
func (j *Job[Input]) Load(v any) (bool, error) {
	return loadCheckpoint(j.a.request.GetCheckpoint(), v)
}

// CheckpointFormat returns the format of what Load reads, one of those of the
// option Resume; 0 when there is nothing.
func (j *Job[Input]) CheckpointFormat() int32 { return j.a.request.GetCheckpoint().GetFormat() }
