// Package config reads the host's configuration: settings of the host itself,
// the commands and clusters that it offers, and the settings of its plugins.
package config

import (
	"encoding/json"
	"net"
	"net/netip"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// Config is a configuration, as one file and the environment give it.
type Config struct {
	// DataDir holds the database, job folders, artifacts, plugin builds and
	// sockets. One data_dir serves one host. Default: data.
	DataDir string `toml:"data_dir"`

	Server    Server    `toml:"server"`
	Store     Store     `toml:"store"`
	Artifacts Artifacts `toml:"artifacts"`
	Plugins   Plugins   `toml:"plugins"`
	Queue     Queue     `toml:"queue"`
	Auth      Auth      `toml:"auth"`
	Secrets   Secrets   `toml:"secrets"`
	Log       Log       `toml:"log"`

	// Plugin holds the table [plugin.<name>] of each plugin that has one: its
	// own settings, a JSON object, references as written. Default: none.
	Plugin map[string]json.RawMessage `toml:"plugin"`

	Commands []Command `toml:"commands"`
	Clusters []Cluster `toml:"clusters"`
}

// Server says how the API is reached.
type Server struct {
	// Listen is the address, host:port. Default: 127.0.0.1:9090.
	Listen string `toml:"listen"`
	// Advertise is the address, host:port, at which the other hosts of the store
	// reach this one. Default: empty, that of Listen, or where that stands for all
	// addresses of the machine, the first of them that is not only its own.
	Advertise string `toml:"advertise"`
	// MaxBodyBytes is the size of the largest request. Default: 1048576.
	MaxBodyBytes int64 `toml:"max_body_bytes"`
	// MaxContextBytes is the size of the largest context of a job. Default:
	// 131072.
	MaxContextBytes int64 `toml:"max_context_bytes"`
	// MaxAttachmentBytes is how large the files that come with a job may be together,
	// at most 5 GiB. Default: 1073741824.
	MaxAttachmentBytes int64 `toml:"max_attachment_bytes"`
	// MaxBatchBytes is the size of the largest request that submits many jobs,
	// each of them no larger than MaxBodyBytes. Default: 67108864.
	MaxBatchBytes int64 `toml:"max_batch_bytes"`
	// DebugListen is an address of this machine only, such as 127.0.0.1:6060, where
	// the process can be looked into by go tool pprof. Default: empty, none.
	DebugListen string `toml:"debug_listen"`
}

// Loopback reports whether the API can be reached from this machine only.
func (s Server) Loopback() bool { return loopback(s.Listen) }

// loopback reports whether an address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Store says where jobs are recorded.
type Store struct {
	// URL is sqlite, for a file in data_dir, or
	// postgres://user:password@host:5432/database. Default: sqlite.
	URL string `toml:"url"`
}

// Artifacts says where results and logs of ended jobs are kept.
type Artifacts struct {
	// URL is file, for data_dir/artifacts, or
	// s3://bucket/prefix?endpoint=https://host&region=name. Default: file.
	URL string `toml:"url"`
}

// Plugins says which plugins are run, and how.
type Plugins struct {
	// Directory is searched for executables heimdall-plugin-<name>. Default:
	// bin/plugins.
	Directory string `toml:"directory"`
	// StartTimeout is how long a plugin may take until it answers. Default: 10s.
	StartTimeout time.Duration `toml:"start_timeout"`
	// RequireChecksums runs only binaries that the file SHA256SUMS in the
	// directory lists with their digest. Default: false.
	RequireChecksums bool `toml:"require_checksums"`
	// RequireCheck runs only binaries that have passed heimdall plugin check: the
	// report <file>.check.json beside them says so of their digest. Default:
	// false.
	RequireCheck bool `toml:"require_check"`
	// CheckKey is a file with the public key of ed25519 (PEM) that these reports
	// must be signed with, in <file>.check.json.sig. Default: empty, no signature
	// is needed.
	CheckKey string `toml:"check_key"`
	// Environment names variables of the host that plugins are given besides
	// the few that every program needs. Default: none.
	Environment []string `toml:"environment"`
	// Policy holds the table [plugins.policy.<name>] of each plugin that has
	// one. Default: none.
	Policy map[string]Policy `toml:"policy"`
}

// Queue says how jobs are run and stopped.
type Queue struct {
	// Workers is the number of jobs that this host runs at once. Default: 64.
	Workers int `toml:"workers"`
	// Timeout ends attempts of jobs that give none, and whose command gives
	// none, when they take longer. Default: 0s, which is never.
	Timeout time.Duration `toml:"timeout"`
	// ShutdownGrace is how long running jobs may go on when the host is told to
	// stop; what is left then is killed. Default: 30s.
	ShutdownGrace time.Duration `toml:"shutdown_grace"`
	// CancelGrace is how long a job that is told to stop may take before it is
	// forced. Default: 10s.
	CancelGrace time.Duration `toml:"cancel_grace"`
	// Lease is how long this host may run jobs after each sign of life that it gives
	// to the store, five times in that time; then other hosts may take its jobs.
	// At least 1s; the same on all hosts of a store. Default: 10s.
	Lease time.Duration `toml:"lease"`
	// LostAfter is how long jobs that may not run twice wait for a host that is
	// lost; then they end as lost. Default: 15m.
	LostAfter time.Duration `toml:"lost_after"`
	// MaxLogBytes is how much a job may write to each of stdout and stderr;
	// what writes more is ended. 0 is no limit. Default: 2147483648.
	MaxLogBytes int64 `toml:"max_log_bytes"`
	// KeepLogBytes is how much of each is kept after the end: of a longer one, half
	// of that from its begin and half from its end, with a line between them that
	// says how much is missing. 0 is all. Default: 67108864.
	KeepLogBytes int64 `toml:"keep_log_bytes"`
	// MaxResultBytes is how large a result may be; a larger one fails its job.
	// 0 is no limit. Default: 17179869184.
	MaxResultBytes int64 `toml:"max_result_bytes"`
	// MaxRunningPerUser is how many jobs of each user may run at once, over all
	// hosts of the store. Default: 0, any number.
	MaxRunningPerUser int `toml:"max_running_per_user"`
	// MaxWaiting is how many jobs may wait, of all users together; more are
	// refused with 429. 0 is any number. Default: 1000000.
	MaxWaiting int `toml:"max_waiting"`
	// MaxWaitingPerUser is how many jobs of each user may wait. 0 is any number.
	// Default: 250000.
	MaxWaitingPerUser int `toml:"max_waiting_per_user"`
	// Keep is how long ended jobs are kept with their logs and results. Default:
	// 0s, for ever.
	Keep time.Duration `toml:"keep"`
}

// OrphanTimeout returns how long a job that may not run twice goes on while no host
// follows it: not quite as long as others wait for its host.
func (q Queue) OrphanTimeout() time.Duration {
	if q.LostAfter < 2*time.Minute {
		return q.LostAfter / 2
	}
	return q.LostAfter - time.Minute
}

// Auth says who callers are and what they may do.
type Auth struct {
	// TrustedHeaders are request headers; the first that is not empty names the
	// user. Default: X-Heimdall-User, X-Pattern-User.
	TrustedHeaders []string `toml:"trusted_headers"`
	// TrustedProxies are the address ranges of the peers that these headers are
	// believed from. Default: 127.0.0.0/8, ::1/128.
	TrustedProxies []string `toml:"trusted_proxies"`
	// Operators are the users who may change commands, clusters and leases.
	// When there are none, everybody may while the host listens on loopback
	// only, else nobody. Default: none.
	Operators []string `toml:"operators"`
}

// Secrets says which references the API may put into contexts. What the file of the
// host says may refer to anything.
type Secrets struct {
	// Env names the variables of the host. Default: none.
	Env []string `toml:"env"`
	// Dir is the folder that files lie in or below. Default: empty, none.
	Dir string `toml:"dir"`
}

// Log says what the host writes about itself.
type Log struct {
	// Level is trace, debug, info, warn, error or off. Default: info.
	Level string `toml:"level"`
	// Format is text or json. Default: text.
	Format string `toml:"format"`
}

// Command is a [[commands]] table: a kind of work that callers may ask for.
type Command struct {
	// ID is unique among the commands. Default: the name.
	ID string `toml:"id"`
	// Name is what people call it. Required.
	Name string `toml:"name"`
	// Version is any text. Default: empty.
	Version string `toml:"version"`
	// Description is one line for people. Default: empty.
	Description string `toml:"description"`
	// Status is active, inactive or deleted, in any case. Default: active.
	Status catalog.Status `toml:"status"`
	// Plugin is the name of the plugin that does the work. Required.
	Plugin string `toml:"plugin"`
	// PluginVersion pins a version or a range such as ^1.2. Default: empty, the
	// newest.
	PluginVersion string `toml:"plugin_version"`
	// Sync makes a submission wait for the end. Default: false.
	Sync bool `toml:"is_sync"`
	// Tags are what command criteria are matched against. Default: none.
	Tags tag.Set `toml:"tags"`
	// ClusterTags is what a cluster must have: a list of tags, or a list of such
	// lists in order of preference. Default: empty, any cluster.
	ClusterTags []tag.Set `toml:"cluster_tags"`
	// Timeout ends attempts that take longer, of jobs that give none. Default:
	// that of the queue.
	Timeout time.Duration `toml:"timeout"`
	// Retry says when another attempt follows one that failed, of jobs that do not
	// say so themselves. Default: they are tried once.
	Retry Retry `toml:"retry"`
	// MaxRunning is how many of its jobs may run at once, over all hosts of the
	// store. Default: 0, any number.
	MaxRunning int `toml:"max_running"`
	// MaxTimeout is the longest timeout that a job may ask for, and that of jobs
	// for which nobody says one. Default: 0s, any.
	MaxTimeout time.Duration `toml:"max_timeout"`
	// MaxAttempts is how many attempts a job may ask for. Default: 0, as many as
	// there may be, 100.
	MaxAttempts int `toml:"max_attempts"`
	// MaxPriority is the highest priority that a job may ask for, -100 to 100.
	// Default: any.
	MaxPriority *int `toml:"max_priority"`
	// Keep is how long its ended jobs are kept. Default: 0s, as the queue says.
	Keep time.Duration `toml:"keep"`
	// OnShutdown is wait, which kills jobs that run on after
	// queue.shutdown_grace, or detach, which leaves them to the next start of
	// the host. Default: wait.
	OnShutdown string `toml:"on_shutdown"`
	// Limits bound what each job may use: its process, where it has one of its
	// own, else each program that it runs. Default: none, but that no core files
	// are written.
	Limits Limits `toml:"limits"`
	// Attributes are shown with its jobs, by name. Default: none.
	Attributes map[string]Attribute `toml:"attributes"`
	// Context holds the plugin's settings that belong to the command, a JSON
	// object, references as written. Default: empty.
	Context json.RawMessage `toml:"context"`
}

// Cluster is a [[clusters]] table: a place that work can run on.
type Cluster struct {
	// ID is unique among the clusters. Default: the name.
	ID string `toml:"id"`
	// Name is what people call it. Required.
	Name string `toml:"name"`
	// Version is any text. Default: empty.
	Version string `toml:"version"`
	// Description is one line for people. Default: empty.
	Description string `toml:"description"`
	// Status is active, inactive or deleted, in any case. Default: active.
	Status catalog.Status `toml:"status"`
	// Tags are what cluster criteria are matched against. Default: none.
	Tags tag.Set `toml:"tags"`
	// MaxRunning is how many jobs may run on it at once, over all hosts of the
	// store. Default: 0, any number.
	MaxRunning int `toml:"max_running"`
	// Attributes are shown with its jobs, by name. Default: none.
	Attributes map[string]Attribute `toml:"attributes"`
	// Context holds the plugin's settings that belong to the cluster, a JSON
	// object, references as written. Default: empty.
	Context json.RawMessage `toml:"context"`
}

// Default returns the configuration of a host that is told nothing. It offers
// no command.
func Default() *Config {
	return &Config{
		DataDir: "data",
		Server: Server{
			Listen:             "127.0.0.1:9090",
			MaxBodyBytes:       1 << 20,
			MaxContextBytes:    128 << 10,
			MaxBatchBytes:      64 << 20,
			MaxAttachmentBytes: 1 << 30,
		},
		Store:     Store{URL: "sqlite"},
		Artifacts: Artifacts{URL: "file"},
		Plugins: Plugins{
			Directory:    "bin/plugins",
			StartTimeout: 10 * time.Second,
		},
		Queue: Queue{
			Workers:       64,
			ShutdownGrace: 30 * time.Second,
			CancelGrace:   10 * time.Second,
			Lease:         10 * time.Second,
			LostAfter:     15 * time.Minute,

			MaxLogBytes:    2 << 30,
			KeepLogBytes:   64 << 20,
			MaxResultBytes: 16 << 30,

			MaxWaiting:        1_000_000,
			MaxWaitingPerUser: 250_000,
		},
		Auth: Auth{
			TrustedHeaders: []string{"X-Heimdall-User", "X-Pattern-User"},
			TrustedProxies: []string{"127.0.0.0/8", "::1/128"},
		},
		Log: Log{Level: "info", Format: "text"},
	}
}
