package conformance

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// mostMemory is how much a process may grow by while it makes a large result.
const mostMemory = 128 << 10 // KiB

func dataCases() []testCase {
	const (
		look   = "Result and ResultFile in proto/heimdall/plugin/v1/event.proto; Limits in command.proto"
		starts = "StartRequest in proto/heimdall/plugin/v1/command.proto"
	)
	job := []string{afterEnd}
	return []testCase{
		{id: "result-table", title: "an example of kind table ends with a table of several rows and columns, whose values fit their types", look: look, needs: []string{"table"}, after: job, run: bringsTable},
		{id: "result-file", title: "a large result is a file in the job's folder, with the size, sha256 and rows that it says", look: look, needs: []string{"big"}, after: job, run: bringsFile},
		{id: "result-memory", title: "a large result takes little memory", look: look, needs: []string{"big"}, after: job, run: needsLittleMemory},
		{id: "result-inline", title: "a result larger than inline_result_bytes is not inline", look: look, needs: []string{"table", "quick", "big"}, after: []string{"result-file"}, run: keepsInlineLimit},
		{id: "result-limit", title: "a result larger than result_bytes ends the job with the class quota", look: look, needs: []string{"big", "table"}, after: job, run: keepsResultLimit},
		{id: "unicode", title: "names, users and input keep every character", look: starts, needs: anyEnd, after: job, run: keepsUnicode},
		{id: "large-start", title: "a start of 5 MiB is taken", look: "docs/plugins.md, Other languages: messages have up to 64 MiB", needs: anyEnd, after: job, run: takesLargeStart},
		{id: "slow-reader", title: "a job ends although nobody reads its events", look: "docs/plugins.md, Other languages: an attempt belongs to no call", needs: anyEnd, after: job, run: endsUnread},
		{id: "folders", title: "folders are made when first needed, for this user alone", look: "Folders in proto/heimdall/plugin/v1/command.proto", needs: append([]string{"logs", "big"}, anyEnd...), after: job, run: makesPrivateFolders},
		{id: "logs", title: "an example of kind logs writes to both streams, which are regular files", look: "Folders in proto/heimdall/plugin/v1/command.proto", needs: []string{"logs"}, after: job, run: writesLogs},
		{id: "log-limit", title: "log_bytes bounds each stream, log_truncated says so, and the job goes on", look: "Limits and LogTruncated in proto/heimdall/plugin/v1", needs: []string{"logs"}, after: []string{"logs"}, run: keepsLogLimit},
	}
}

// produces runs an example of some kinds to its good end, with some limits.
func (k *check) produces(ctx context.Context, limits *pluginpb.Limits, kinds ...string) (*pluginpb.StartRequest, *pluginpb.Result, error) {
	e, err := k.example(kinds...)
	if err != nil {
		return nil, nil, err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return nil, nil, err
	}
	request := p.request(e)
	if limits != nil {
		request.Limits = limits
	}
	events, err := k.succeed(ctx, p, request)
	return request, result(events), err
}

func bringsTable(ctx context.Context, k *check) error {
	request, r, err := k.produces(ctx, nil, "table")
	if err != nil {
		return err
	}
	if r == nil {
		return saw("no result").want("a table")
	}
	if r.GetContentType() != tableType {
		return skip("the table is of the type %s, which the check does not read", r.GetContentType())
	}
	content, err := open(request, r)
	if err != nil {
		return err
	}
	defer content.Close()
	t, err := readTable(content)
	switch {
	case err != nil:
		return err
	case t.rows != r.GetRows():
		return saw("%d rows, and rows = %d", t.rows, r.GetRows()).want("the same")
	case t.rows < 2 || len(t.columns) < 2:
		return saw("%d rows and %d columns", t.rows, len(t.columns)).want("at least two of both, so that it shows something")
	}
	return nil
}

func bringsFile(ctx context.Context, k *check) error {
	request, r, err := k.produces(ctx, nil, "big")
	if err != nil {
		return err
	}
	if r.GetFile() == nil && r.GetReference() == nil {
		return saw("a result of %d bytes that is not in a file", r.GetBytes()).want("a file: the example is of the kind big")
	}
	content, err := open(request, r)
	if err != nil {
		return err
	}
	defer content.Close()
	if r.GetContentType() == "" {
		return saw("no content type").want("one")
	}
	if r.GetContentType() != tableType {
		if r.GetRows() != 0 {
			return saw("rows = %d in a document", r.GetRows()).want("0")
		}
		return nil
	}
	t, err := readTable(content)
	if err == nil && t.rows != r.GetRows() {
		return saw("%d rows, and rows = %d", t.rows, r.GetRows()).want("the same")
	}
	return err
}

func needsLittleMemory(ctx context.Context, k *check) error {
	e, err := k.example("big")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	grown, err := k.peak(ctx, p)
	if err != nil {
		return err
	}
	_, err = k.succeed(ctx, p, p.request(e))
	if kib := grown(); err == nil && kib > mostMemory {
		return saw("the process grew by %d MiB", kib>>10).want("at most %d MiB, whatever the size of the result", mostMemory>>10)
	}
	return err
}

func keepsInlineLimit(ctx context.Context, k *check) error {
	const limit = 8
	request, r, err := k.produces(ctx, &pluginpb.Limits{InlineResultBytes: limit}, "table", "quick", "big")
	if err != nil {
		return err
	}
	if r == nil || r.GetBytes() <= limit {
		return skip("the example has no result of more than %d bytes", limit)
	}
	if r.GetInline() != nil {
		return saw("%d bytes inline, where inline_result_bytes is %d", len(r.GetInline()), limit).want("a file")
	}
	content, err := open(request, r)
	if err != nil {
		return err
	}
	return content.Close()
}

func keepsResultLimit(ctx context.Context, k *check) error {
	const limit = 8
	e, err := k.example("big", "table")
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	request.Limits = &pluginpb.Limits{ResultBytes: limit}
	events, ended, err := k.finish(ctx, p, request)
	if err != nil {
		return err
	}
	if result(events).GetBytes() > limit {
		return saw("a result of %d bytes, where result_bytes is %d", result(events).GetBytes(), limit).want("none")
	}
	return isClass(ended, pluginpb.ErrorClass_ERROR_CLASS_QUOTA)
}

func takesLargeStart(ctx context.Context, k *check) error {
	e, err := k.example(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	request := p.request(e)
	request.Job.Description = strings.Repeat("a long story. ", 5<<20/14)
	if size := proto.Size(request); size < 5<<20-64 {
		return saw("a start of %d bytes", size).want("5 MiB")
	}
	// It takes many turns of both sides, which a busy machine makes slow.
	ended, err := k.start(ctx, p, request).ended(ctx, 3*k.Patience)
	if err == nil && ended.GetError() != nil {
		err = saw("%s", outcome(ended)).want("that it ends as a small one does")
	}
	return err
}

func endsUnread(ctx context.Context, k *check) error {
	examples, err := k.examples(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, e := range examples {
		request := p.request(e)
		if _, err := p.commands.Start(ctx, request); err != nil { // never read
			return called("Start", err)
		}
		id := request.GetAttemptId()
		err := until(ctx, k.Patience, func() bool {
			known, err := p.list(ctx)
			if info := known[id]; err == nil && info.GetState() == pluginpb.AttemptState_ATTEMPT_STATE_RUNNING && info.GetLastEvent() > 0 {
				err = p.ack(ctx, id, info.GetLastEvent()) // it may wait for that, after a checkpoint
			}
			return err != nil || known[id].GetState() == pluginpb.AttemptState_ATTEMPT_STATE_ENDED
		})
		if err != nil {
			return saw("the job of %q had not ended after %s", e.Title, k.Patience).want("that it does not wait for its reader")
		}
		if _, err := p.list(ctx); err != nil {
			return err
		}
	}
	return nil
}
