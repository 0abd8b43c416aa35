package sdk

import (
	"encoding/json"
	"fmt"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// maxCheckpoint bounds the data of a checkpoint, in bytes.
const maxCheckpoint = 64 << 10

// featureCheckpoints is what a host says that keeps checkpoints.
const featureCheckpoints = "checkpoints"

// save reports v as the attempt's checkpoint and waits until the host holds it.
func (a *attempt) save(v any) error {
	if a.server.forgetful.Load() {
		return Errorf(Internal, "checkpoint: this host keeps none")
	}
	capabilities := a.server.description.GetCapabilities()
	if !capabilities.GetResume() && !a.cleaner {
		a.server.idleSaves.Do(func() {
			a.logger().Warn("checkpoints are saved and nobody will read them: the plugin has neither the option Resume nor a method Cleanup")
		})
	}
	data, err := json.Marshal(v)
	if err != nil {
		return Errorf(Internal, "checkpoint: %w", err)
	}
	if len(data) > maxCheckpoint {
		return Errorf(Internal, "checkpoint has %d bytes, want at most %d", len(data), maxCheckpoint)
	}

	checkpoint := &pluginpb.Checkpoint{Format: 1, Data: data}
	if formats := capabilities.GetCheckpointFormats(); len(formats) > 0 {
		checkpoint.Format = formats[0]
	}
	a.mu.Lock()
	a.lasting = true
	a.mu.Unlock()
	number := a.log.add(&pluginpb.Event{Kind: &pluginpb.Event_Checkpoint{Checkpoint: checkpoint}}, true)
	if number == 0 {
		return Errorf(Canceled, "checkpoint: the attempt has ended")
	}
	if err := a.log.durable(a.ctx, number); err != nil {
		return fmt.Errorf("checkpoint: the host does not hold it: %w", err)
	}
	return nil
}

// loadCheckpoint reads a checkpoint into v and reports whether there is one. What
// became of the work of one that cannot be read is unknown.
func loadCheckpoint(checkpoint *pluginpb.Checkpoint, v any) (bool, error) {
	if checkpoint == nil {
		return false, nil
	}
	if err := json.Unmarshal(checkpoint.GetData(), v); err != nil {
		return false, Errorf(Lost, "checkpoint of format %d: %w", checkpoint.GetFormat(), err)
	}
	return true, nil
}

// Remains is what an attempt may have left outside.
type Remains struct{ request *pluginpb.CleanupRequest }

// JobID returns the id of the job.
func (r Remains) JobID() string { return r.request.GetJob().GetId() }

// AttemptID returns the id of the attempt.
func (r Remains) AttemptID() string { return r.request.GetAttemptId() }

// Reason returns one sentence: why something may be left.
func (r Remains) Reason() string { return r.request.GetReason() }

// Dir returns the working folder of the attempt. It may be gone.
func (r Remains) Dir() string { return r.request.GetFolders().GetWork() }

// Load reads the last checkpoint into v and reports whether there is one.
func (r Remains) Load(v any) (bool, error) { return loadCheckpoint(r.request.GetCheckpoint(), v) }

// CheckpointFormat returns the format of what Load reads; 0 when there is nothing.
func (r Remains) CheckpointFormat() int32 { return r.request.GetCheckpoint().GetFormat() }
