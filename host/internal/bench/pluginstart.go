package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/heimdall-run/heimdall/host/internal/pluginhost"
	"github.com/heimdall-run/heimdall/sdk/handshake"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// pluginStart measures a plugin from its start to its first answer, in our host
// and in go-plugin's own client in turn.
func (b *bench) pluginStart() error {
	const starts = 40
	binary := filepath.Join(b.plugins(), "heimdall-plugin-ping")
	folder, data := filepath.Join(b.scratch, "one-plugin"), filepath.Join(b.scratch, "plugin-start")
	if err := copyPlugin(binary, folder); err != nil {
		return err
	}
	var theirs, whole, ours []time.Duration
	for range starts {
		first, all, err := b.goPlugin(binary)
		if err != nil {
			return fmt.Errorf("go-plugin: %w", err)
		}
		theirs, whole = append(theirs, first), append(whole, all)
		own, err := b.ownStart(folder, data)
		if err != nil {
			return err
		}
		ours = append(ours, own)
	}
	b.add(Figure{Name: "go-plugin: start to first answer, p50", Value: milli(middle(theirs)), Unit: "ms"})
	b.add(Figure{Name: "go-plugin: start, call and kill, p50", Value: milli(middle(whole)), Unit: "ms"})
	b.add(Figure{
		Name: "our host: start to first answer, p50", Value: milli(middle(ours)), Unit: "ms",
		Against: "go-plugin", Ratio: ratio(middle(ours), middle(theirs)), Goal: "at most 2",
	})
	return nil
}

// goPlugin starts, calls and kills a plugin with go-plugin's own client. It
// returns the time to the first answer, and to the end.
func (b *bench) goPlugin(binary string) (first, whole time.Duration, err error) {
	start := time.Now()
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake.Config,
		Plugins:          handshake.Set(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              exec.Command(binary),
		Logger:           hclog.NewNullLogger(),
	})
	defer client.Kill()
	protocol, err := client.Client()
	if err != nil {
		return 0, 0, err
	}
	conn, err := protocol.Dispense(handshake.Name)
	if err != nil {
		return 0, 0, err
	}
	if _, err := pluginpb.NewPluginServiceClient(conn.(*grpc.ClientConn)).Describe(b.ctx, &pluginpb.DescribeRequest{}); err != nil {
		return 0, 0, err
	}
	first = time.Since(start)
	client.Kill()
	return first, time.Since(start), nil
}

// ownStart starts and stops the only plugin of a folder. It returns the time
// from the build's start to where it takes jobs, by the times that the host
// itself notes: the look at the folder and the check of the copy come before.
func (b *bench) ownStart(folder, data string) (time.Duration, error) {
	h, err := pluginhost.New(pluginhost.Config{Directory: folder, DataDir: data, StartWait: startWait, Log: hclog.NewNullLogger()})
	if err != nil {
		return 0, err
	}
	watching, stop := context.WithTimeout(b.ctx, startWait)
	starting := make(chan time.Time, 1)
	go func() { starting <- whenStarting(watching, h) }()
	err = h.Start(b.ctx)
	if err != nil {
		stop()
	}
	since := <-starting
	stop()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	switch list := h.Plugins(); {
	case since.IsZero():
		return 0, errors.New("the start of the plugin was not seen")
	case len(list) != 1 || list[0].State != pluginhost.Active:
		return 0, fmt.Errorf("the plugin host runs %+v, want one active plugin", list)
	default:
		return list[0].Since.Sub(since), nil
	}
}

// whenStarting returns since when the first build starts; zero when that was not
// seen.
func whenStarting(ctx context.Context, h *pluginhost.Host) time.Time {
	for ctx.Err() == nil {
		if list := h.Plugins(); len(list) > 0 {
			if list[0].State != pluginhost.Starting {
				break
			}
			return list[0].Since
		}
		time.Sleep(time.Millisecond)
	}
	return time.Time{}
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
