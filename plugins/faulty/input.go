package main

import "github.com/heimdall-run/heimdall/sdk"

// Input is the script of one job. Its steps are done in the order of its fields;
// those that are left out are not done.
type Input struct {
	Ledger       string            `json:"ledger" doc:"A file that gets a line \"start <job> <attempt> <pid> <time>\" first (\"resume\" when the job resumes) and a line \"end <job> <attempt> <pid> <time> <outcome>\" when Run returns; before the first of them a line that begins with \"busy\" if another execution of the job is not over. Times are microseconds since 1970."`
	Allocate     int64             `json:"allocate" doc:"Bytes of memory to take until Run returns."`
	Stdout       string            `json:"stdout" doc:"Text for stdout."`
	Stderr       string            `json:"stderr" doc:"Text for stderr."`
	StdoutBytes  int64             `json:"stdout_bytes" doc:"Bytes of lines for stdout."`
	Print        string            `json:"print" doc:"Text for the streams of the process itself, which belong to no job."`
	Output       map[string]string `json:"output" doc:"Outputs of the job."`
	Progress     int               `json:"progress" doc:"Reports of progress."`
	Checkpoint   string            `json:"checkpoint" doc:"Text to save."`
	SaveBytes    int               `json:"save_bytes" doc:"Bytes of text to save."`
	Remote       string            `json:"remote" doc:"A folder that plays a remote system. The job saves its intent, begins work there, which is a line in the file ledger, and follows it; when it resumes it only follows. A cancel and a cleanup stop the work."`
	NoSave       bool              `json:"no_save" doc:"Whether the intent is not saved."`
	Crash        int               `json:"crash" doc:"The attempts up to this one kill the process once the work is begun or followed."`
	Spawn        []string          `json:"spawn" doc:"A program to start through the sdk and leave running."`
	Exec         []string          `json:"exec" doc:"A program to run through the sdk to its end."`
	Sleep        sdk.Duration      `json:"sleep" doc:"Time to wait."`
	Until        string            `json:"until" doc:"A file to wait for."`
	SaveLate     string            `json:"save_late" doc:"Text to save after the waits."`
	IgnoreCancel bool              `json:"ignore_cancel" doc:"Whether waits go on when the job is canceled."`
	Hang         bool              `json:"hang" doc:"Wait for ever, also when the job is canceled."`
	Text         string            `json:"text" doc:"Text as the result."`
	ResultBytes  int64             `json:"result_bytes" doc:"Bytes of a document as the result."`
	Rows         int64             `json:"rows" doc:"Rows of a table as the result."`
	Exit         *int              `json:"exit" doc:"End the whole process with this code."`
	Panic        string            `json:"panic" doc:"Panic with this text."`
	PanicAside   string            `json:"panic_aside" doc:"Panic with this text in a goroutine of its own, which ends the process."`
	Leak         []string          `json:"leak" doc:"Where the setting password is told, in this order: log, output, progress, usage, stdout, error, panic or crash."`
	Error        *Failure          `json:"error" doc:"The error to end with."`
}

// Failure is the error that a job ends with.
type Failure struct {
	Class      sdk.Class    `json:"class" required:"true"`
	Message    string       `json:"message"`
	RetryAfter sdk.Duration `json:"retry_after"`
	RetrySafe  bool         `json:"retry_safe"`
	ExitCode   *int         `json:"exit_code"`
	Signal     string       `json:"signal"`
	Detail     string       `json:"detail"`
}
