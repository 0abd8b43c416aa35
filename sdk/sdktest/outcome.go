package sdktest

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Outcome is how a job ended and what it left.
type Outcome struct {
	Err         *sdk.Error // nil when it ended well
	ContentType string     // of the result; empty when there is none
	Result      []byte     // the whole content, wherever it was
	Columns     []sdk.Column
	Rows        [][]any // of a table; numbers are json.Number
	Text        string  // of a table that is one text
	Stdout      string
	Stderr      string
	Outputs     map[string]string
	Usage       map[string]float64
	Checkpoint  json.RawMessage // the last one
	Dir         string          // the job's folder
	Events      []*pluginpb.Event
}

func (a *Attempt) outcome() Outcome {
	a.t.Helper()
	out := Outcome{
		Stdout:  a.read(a.request.GetFolders().GetLogs(), "stdout"),
		Stderr:  a.read(a.request.GetFolders().GetLogs(), "stderr"),
		Outputs: map[string]string{},
		Usage:   map[string]float64{},
		Dir:     a.Dir(),
		Events:  a.events,
	}
	for _, event := range a.events {
		switch kind := event.GetKind().(type) {
		case *pluginpb.Event_Output:
			out.Outputs[kind.Output.GetKey()] = kind.Output.GetValue()
		case *pluginpb.Event_Usage:
			out.Usage[kind.Usage.GetUnit()] = kind.Usage.GetAmount()
		case *pluginpb.Event_Checkpoint:
			out.Checkpoint = kind.Checkpoint.GetData()
		case *pluginpb.Event_Result:
			a.setResult(&out, kind.Result)
		case *pluginpb.Event_Ended:
			out.Err = errorOf(kind.Ended.GetError())
		}
	}
	return out
}

func (a *Attempt) setResult(out *Outcome, result *pluginpb.Result) {
	a.t.Helper()
	out.ContentType = result.GetContentType()
	out.Result = result.GetInline()
	if file := result.GetFile(); file != nil {
		folder := a.request.GetFolders().GetResult()
		if file.GetInWork() {
			folder = a.request.GetFolders().GetWork()
		}
		out.Result = []byte(a.read(folder, file.GetPath()))
	}
	if got, want := int64(len(out.Result)), result.GetBytes(); got != want {
		a.t.Errorf("result has %d bytes, want %d as reported", got, want)
	}
	if out.ContentType == sdk.TableType {
		a.setTable(out, result.GetRows())
	}
}

func (a *Attempt) setTable(out *Outcome, rows int64) {
	a.t.Helper()
	var table struct {
		Columns []sdk.Column `json:"columns"`
		Data    [][]any      `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(out.Result))
	decoder.UseNumber()
	if err := decoder.Decode(&table); err != nil {
		a.t.Errorf("result is no table: %v", err)
		return
	}

	out.Columns, out.Rows = table.Columns, table.Data
	if got := int64(len(out.Rows)); got != rows {
		a.t.Errorf("result has %d rows, want %d as reported", got, rows)
	}
	for i, row := range out.Rows {
		if len(row) != len(out.Columns) {
			a.t.Errorf("row %d has %d values, want %d", i+1, len(row), len(out.Columns))
		}
	}
	if len(out.Rows) == 1 && len(out.Columns) == 1 {
		out.Text, _ = out.Rows[0][0].(string)
	}
}

func errorOf(e *pluginpb.Error) *sdk.Error {
	if e == nil {
		return nil
	}

	out := &sdk.Error{
		Class:      sdk.Class(strings.ToLower(strings.TrimPrefix(e.GetClass().String(), "ERROR_CLASS_"))),
		Message:    e.GetMessage(),
		RetryAfter: e.GetRetryAfter().AsDuration(),
		RetrySafe:  e.GetRetrySafe(),
		Signal:     e.GetSignal(),
		Detail:     e.GetDetail(),
	}
	if e.ExitCode != nil {
		out.ExitCode = new(int(e.GetExitCode()))
	}
	return out
}
