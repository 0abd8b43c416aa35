package main

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// results are the breeds whose results, or what they get, is not whole.
func results() map[string]breed {
	start := func(wrong string, change func(*pluginpb.StartRequest)) breed {
		return breed{wrong: wrong, receive: func(request any) {
			if r, ok := request.(*pluginpb.StartRequest); ok {
				change(r)
			}
		}}
	}
	return map[string]breed{
		"ragged": {wrong: "a row of a table is short", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if job.Input.Rows == 0 {
				return healthy()
			}
			_, err := fmt.Fprint(job.Result(sdk.TableType), `{"columns":[{"name":"n","type":"int64"},{"name":"text","type":"string"}],"data":[[1,"row 1"],[2]]}`)
			return err
		}},
		"liar": {
			wrong: "the sha256 of a result file is another",
			send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
				return next(changed(events, func(e *pluginpb.Event) {
					if sum := e.GetResult().GetFile().GetSha256(); len(sum) > 0 {
						sum[0] ^= 1
					}
				}))
			},
		},
		"glutton": {wrong: "a large result takes much memory", run: func(_ context.Context, job *sdk.Job[Input], healthy func() error) error {
			if job.Input.Bytes > 0 {
				memory := make([]byte, 200<<20)
				for i := 0; i < len(memory); i += 4096 {
					memory[i] = 1
				}
				defer func() { job.Log.Debug("had enough", "byte", memory[len(memory)-1]) }()
			}
			return healthy()
		}},
		"inliner":   start("results are inline whatever the host says", func(r *pluginpb.StartRequest) { limits(r).InlineResultBytes = 0 }),
		"boundless": start("results are as large as they like", func(r *pluginpb.StartRequest) { limits(r).ResultBytes = 0 }),
		"ascii": start("the input loses what is not ASCII", func(r *pluginpb.StartRequest) {
			for i, b := range r.GetInput() {
				if b >= 0x80 {
					r.Input[i] = '?'
				}
			}
		}),
		"small-mouthed": {wrong: "a start of 5 MiB is refused", options: []sdk.Option{sdk.GRPC(grpc.MaxRecvMsgSize(4 << 20))}},
		"bound":         bound(),
	}
}

// limits returns the limits of a start, to be changed.
func limits(r *pluginpb.StartRequest) *pluginpb.Limits {
	if r.Limits == nil {
		r.Limits = &pluginpb.Limits{}
	}
	return r.Limits
}

// bound lets a job wait until somebody reads its events.
func bound() breed {
	read := make(chan struct{})
	var once sync.Once
	return breed{
		wrong: "a job waits for the reader of its events",
		send: func(events []*pluginpb.Event, next func([]*pluginpb.Event) error) error {
			// More than what lies between two processes that do not read.
			padded := changed(events, func(e *pluginpb.Event) {
				if e.GetStarted() != nil {
					e.ProtoReflect().SetUnknown(append([]byte{0xfa, 0x7f, 0x80, 0x80, 0x10}, make([]byte, 1<<18)...))
				}
			})
			err := next(padded)
			if err == nil && events[0].GetStarted() != nil {
				err = next(nil) // waits until the one before is on its way
			}
			if err == nil && events[0].GetStarted() != nil {
				once.Do(func() { close(read) })
			}
			return err
		},
		run: func(ctx context.Context, _ *sdk.Job[Input], healthy func() error) error {
			select {
			case <-read:
				return healthy()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}
