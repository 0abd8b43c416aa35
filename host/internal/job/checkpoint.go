package job

import "time"

// MaxCheckpoint is the most data that a checkpoint may hold, bytes.
const MaxCheckpoint = 64 << 10

// MaxResumes is how many attempts in a row may go on from one checkpoint.
const MaxResumes = 5

// Checkpoint is what lets another attempt go on with the outside work of a job.
// It holds as well what the job has shown until then, because the plugin forgets
// that once the checkpoint is acknowledged.
type Checkpoint struct {
	Attempt int   // that saved it
	Format  int32 // of the data, chosen by the plugin
	Data    []byte
	Outputs []Output
	Usage   map[string]float64 // of that attempt
}

// Cleanup is an attempt whose outcome is unknown and which may have left
// something outside, for its plugin to remove.
type Cleanup struct {
	Job        *Job
	Attempt    int
	Reason     string      // one sentence: why something may be left
	Checkpoint *Checkpoint // the last one; nil when there was none
	Tries      int         // that have failed
	Since      time.Time   // when the attempt ended
}
