package config_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/host/internal/config"
)

// bad maps a description to a wrong configuration and what Load says of it,
// where @ stands for the path of the file.
var bad = map[string]struct {
	text string
	env  []string
	want string
}{
	"an unknown key": {
		text: "[[commands]]\nname = 'a'\nplugin = 'ping'\n[[commands]]\nname = 'b'\nplugin = 'ping'\nstatsu = 'active'\n",
		want: `@:7: commands[1].statsu: unknown key (did you mean "status"?)`,
	},
	"an unknown key that resembles none": {
		text: "[log]\n\nfoo = 1",
		want: "@:3: log.foo: unknown key (known here: level, format)",
	},
	"a key in the wrong case": {
		text: "[server]\nListen = ':1'",
		want: `@:2: server.Listen: unknown key (did you mean "listen"?)`,
	},
	"an unknown section is one fault": {
		text: "[sever]\nlisten = ':1'\nother = 1\n",
		want: `@:1: sever: unknown key (did you mean "server"?)`,
	},
	"an unknown list of tables": {
		text: "\n[[comands]]\nname = 'x'\n[[comands]]\n",
		want: `@:2: comands: unknown key (did you mean "commands"?)`,
	},
	"an unknown key with dots, quoted": {
		text: "[server]\n'my \"key\".x' = 1",
		want: `@:2: server."my \"key\".x": unknown key (known here: listen, advertise, max_body_bytes, max_context_bytes, max_attachment_bytes, max_batch_bytes, debug_listen)`,
	},
	"an unknown key in an inline table": {
		text: "clusters = [\n  { name = 'a' },\n  { name = 'b', tag = [] },\n]",
		want: `@:3: clusters[1].tag: unknown key (did you mean "tags"?)`,
	},
	"an unknown dotted key": {
		text: "server.listne = 'x'",
		want: `@:1: server.listne: unknown key (did you mean "listen"?)`,
	},
	"wrong types, all at once": {
		text: "data_dir = 1\n[queue]\nworkers = '8'\nshutdown_grace = 30\n[auth]\noperators = 'ann'\ntrusted_proxies = ['127.0.0.0/8', 1]\n" +
			"[[commands]]\nname = 'a'\nplugin = 'p'\nis_sync = 'yes'\ntags = 'x'\ncluster_tags = [['a'], 'b']\nversion = 0.1\ncontext = []\n[log]\nlevel = 2026-01-01\n",
		want: `@:1: data_dir: this is a whole number; want a string
@:3: queue.workers: this is a string; want a whole number
@:4: queue.shutdown_grace: this is a whole number; want a duration such as "30s" or "5m"
@:6: auth.operators: this is a string; want a list of strings
@:7: auth.trusted_proxies[1]: this is a whole number; want a string
@:11: commands[0].is_sync: this is a string; want true or false
@:12: commands[0].tags: this is a string; want a list of strings
@:13: commands[0].cluster_tags[1]: this is a string; want a list of strings
@:14: commands[0].version: this is a number with a fraction; want a string
@:15: commands[0].context: this is a list; want a table
@:17: log.level: this is a date or time; want a string`,
	},
	"a fraction of a worker": {
		text: "queue = { workers = 1.5 }",
		want: "@:1: queue.workers: this is a number with a fraction; want a whole number",
	},
	"a table where a list of tables stands": {
		text: "[commands]\nname = 'x'",
		want: "@:1: commands: this is a table; want a list of tables: write [[commands]]",
	},
	"a value where a section stands": {
		text: "server = '127.0.0.1:9090'",
		want: "@:1: server: this is a string; want a table",
	},
	"texts in a list of tables": {
		text: "clusters = [\n'a', {name = 'b'}]",
		want: "@:2: clusters[0]: this is a string; want a table\n@:2: clusters[0].name: this is missing; give it a name",
	},
	"a plugin's settings that are no table": {
		text: "[plugin]\nshell = 1",
		want: "@:2: plugin.shell: this is a whole number; want a table",
	},
	"duplicate ids": {
		text: "[[commands]]\nname = 'a'\nplugin = 'p'\n[[commands]]\nid = 'a'\nname = 'b'\nplugin = 'p'\n[[clusters]]\nname = 'a'\n[[clusters]]\nname = 'a'\n",
		want: `@:5: commands[1].id: the id "a" is taken by commands[0].name (@:2); give one of them another id
@:11: clusters[1].name: the id "a" is taken by clusters[0].name (@:9); give one of them another id`,
	},
	"a command that lacks everything": {
		text: "# none\n[[commands]]\n",
		want: `@:2: commands[0].name: this is missing; give it a name
@:2: commands[0].plugin: this is missing; name the plugin that does the work`,
	},
	"bad status, duration and names": {
		text: "[[commands]]\nname = ' a'\nplugin = '../sh'\nstatus = 'on'\ntimeout = '5 minutes'\nversion = \"\\u0000\"\nid = 'a/b'\n",
		want: `@:2: commands[0].name: " a" begins or ends with space; leave it out
@:3: commands[0].plugin: the name of a plugin is small letters, digits, "-" and "_", at most 63; want what follows "heimdall-plugin-" in the name of its file
@:4: commands[0].status: "on" is not a status; it is one of active, inactive, deleted
@:5: commands[0].timeout: "5 minutes" is not a duration such as "30s" or "5m"
@:6: commands[0].version: "\x00" has characters that no name may have
@:7: commands[0].id: "a/b" cannot be an id, which is a part of URLs; leave out the slashes and dots, or set id`,
	},
	"an id that is a URL of another thing, a name that turns what follows, a long description": {
		text: "[[commands]]\nname = \"x\\u202Ey\"\nid = 'statuses'\nplugin = 'p'\n[[clusters]]\nname = 'a'\ndescription = '" + strings.Repeat("x", 4097) + "'\n",
		want: `@:2: commands[0].name: "x\u202ey" has characters that no name may have
@:3: commands[0].id: "statuses" cannot be an id: its URL is that of the list of statuses; set another
@:7: clusters[0].description: this is longer than 4096 bytes`,
	},
	"bad tags": {
		text: "[[clusters]]\nname = 'a'\ntags = [\"x\\ny\"]\n[[clusters]]\nname = 'b'\ntags = ['_id:a']\n",
		want: `@:3: clusters[0].tags: tag "x\ny" has characters that no tag may have
@:6: clusters[1].tags: "_id:a" is a tag that every object has of itself; leave it out`,
	},
	"bad settings": {
		text: "data_dir = ''\n[server]\nlisten = '9090'\nmax_body_bytes = 0\nmax_context_bytes = -1\n[store]\nurl = 'mysql://root:secret@db'\n[artifacts]\nurl = 's3:bucket'\n" +
			"[plugins]\ndirectory = ''\nstart_timeout = '0s'\nenvironment = ['A=B']\n[queue]\nworkers = 0\nshutdown_grace = '-1s'\nmax_log_bytes = -1\n[auth]\ntrusted_headers = ['X User']\n" +
			"trusted_proxies = [\n  '127.0.0.1',\n  'fd00::1',\n  'here',\n]\noperators = ['']\n[log]\nlevel = 'loud'\nformat = 'xml'\n",
		want: `@:1: data_dir: this is empty; name a folder
@:3: server.listen: "9090" is not host:port; write it like "127.0.0.1:9090"
@:4: server.max_body_bytes: 0 is too small; it must be more than 0
@:5: server.max_context_bytes: -1 is too small; it must be more than 0
@:7: store.url: want "sqlite" or "postgres://user:password@host:5432/database"
@:9: artifacts.url: want "file" or "s3://bucket/prefix?endpoint=https://host&region=name"
@:11: plugins.directory: this is empty; name a folder
@:12: plugins.start_timeout: 0s is too small; it must be more than 0
@:13: plugins.environment[0]: "A=B" is not the name of a variable
@:15: queue.workers: 0 is too small; it must be more than 0
@:16: queue.shutdown_grace: -1s is too small; it must be 0s or more
@:17: queue.max_log_bytes: -1 is too small; it must be 0 or more
@:19: auth.trusted_headers[0]: "X User" is not the name of a header
@:21: auth.trusted_proxies[0]: "127.0.0.1" is one address; write "127.0.0.1/32"
@:22: auth.trusted_proxies[1]: "fd00::1" is one address; write "fd00::1/128"
@:23: auth.trusted_proxies[2]: "here" is not a range of addresses; write it like "10.0.0.0/8" or "fd00::/8"
@:25: auth.operators[0]: this is empty; name a user
@:27: log.level: "loud" is not one of trace, debug, info, warn, error, off
@:28: log.format: "xml" is not one of text, json`,
	},
	"bad limits": {
		text: "[plugins.policy.ping]\nisolation = 'alone'\nmemory = '1KiB'\ncpu = '1500ms'\nopen_files = 3\ncore = -1\nswap = 1\n" +
			"[plugins.policy.'a/b']\nmemory = '5 MB'\n[[commands]]\nname = 'a'\nplugin = 'p'\n[commands.limits]\nmemory = 1.5\ncpu = 60\nopen_files = '9'\ncore = '9EiB'\n" +
			"[[commands]]\nname = 'b'\nplugin = 'p'\nlimits = { memory = '9000000TiB', cpu = '-1s', memroy = 1 }\n[[commands]]\nname = 'c'\nplugin = 'p'\nlimits = '1GiB'\n",
		want: `@:2: plugins.policy.ping.isolation: "alone" is not one of shared, per-job
@:3: plugins.policy.ping.memory: 1024 is too small; it must be "1MiB" or more, or 0 for no limit
@:4: plugins.policy.ping.cpu: 1.5s cannot be held; it must be whole seconds, or "0s" for no limit
@:5: plugins.policy.ping.open_files: 3 is too small; it must be 32 or more, or 0 for as many as the host may
@:6: plugins.policy.ping.core: -1 is too small; it must be 0 or more
@:7: plugins.policy.ping.swap: unknown key (known here: isolation, memory, cpu, open_files, core)
@:8: plugins.policy."a/b": the name of a plugin is small letters, digits, "-" and "_", at most 63; want what follows "heimdall-plugin-" in the name of its file
@:9: plugins.policy."a/b".memory: "5 MB" is not a size such as "512MiB" or "2GiB"
@:14: commands[0].limits.memory: this is a number with a fraction; want a size such as "512MiB", or a number of bytes
@:15: commands[0].limits.cpu: this is a whole number; want a duration such as "30s" or "5m"
@:16: commands[0].limits.open_files: this is a string; want a whole number
@:17: commands[0].limits.core: "9EiB" is not a size such as "512MiB" or "2GiB"
@:21: commands[1].limits.cpu: -1s cannot be held; it must be whole seconds, or "0s" for no limit
@:21: commands[1].limits.memory: "9000000TiB" is not a size such as "512MiB" or "2GiB"
@:21: commands[1].limits.memroy: unknown key (did you mean "memory"?)
@:25: commands[2].limits: this is a string; want a table`,
	},
	"bad bounds of the queue": {
		text: "[server]\nmax_batch_bytes = 0\nmax_attachment_bytes = 6000000000\n[queue]\nmax_running_per_user = -1\nmax_waiting = -1\nmax_waiting_per_user = '9'\nkeep = '-1h'\n" +
			"[[clusters]]\nname = 'a'\nmax_running = -2\n" +
			"[[commands]]\nname = 'a'\nplugin = 'p'\nmax_running = -1\nmax_timeout = '-1s'\nmax_attempts = 101\nmax_priority = 1000\nkeep = '-1s'\n",
		want: `@:2: server.max_batch_bytes: 0 is too small; it must be more than 0
@:3: server.max_attachment_bytes: 6000000000 is too large; it may be 5368709120
@:5: queue.max_running_per_user: -1 is too small; it must be 0 or more
@:6: queue.max_waiting: -1 is too small; it must be 0 or more
@:7: queue.max_waiting_per_user: this is a string; want a whole number
@:8: queue.keep: -1h0m0s is too small; it must be 0s or more
@:11: clusters[0].max_running: -2 is too small; it must be 0 or more
@:15: commands[0].max_running: -1 is too small; it must be 0 or more
@:16: commands[0].max_timeout: -1s is too small; it must be 0s or more
@:17: commands[0].max_attempts: 101 is no bound; it must be between 1 and 100, or 0 for none
@:18: commands[0].max_priority: 1000 is no priority; it must be between -100 and 100
@:19: commands[0].keep: -1s is too small; it must be 0s or more`,
	},
	"a command that says more than it lets callers ask for": {
		text: "[[commands]]\nname = 'a'\nplugin = 'p'\ntimeout = '2h'\nmax_timeout = '1h'\nmax_attempts = 2\n[commands.retry]\nattempts = 3\n" +
			"[[commands]]\nname = 'b'\nplugin = 'p'\ntimeout = '1h'\nmax_timeout = '1h'\nmax_attempts = 2\nretry = { attempts = 2 }\n" +
			"[[commands]]\nname = 'c'\nplugin = 'p'\ntimeout = '1h'\nretry = { attempts = 2 }\n",
		want: `@:4: commands[0].timeout: 2h0m0s is more than max_timeout lets callers ask for, which is 1h0m0s; lower it, or raise that
@:8: commands[0].retry.attempts: 3 is more than max_attempts lets callers ask for, which is 2; lower it, or raise that`,
	},
	"bad retry policies": {
		text: "[[commands]]\nname = 'a'\nplugin = 'p'\nretry = { attempts = 101 }\n[[commands]]\nname = 'b'\nplugin = 'p'\nretry = { backoff = '1s' }\n" +
			"[[commands]]\nname = 'c'\nplugin = 'p'\n[commands.retry]\nattempts = 3\nbackoff = '11m'\n[[commands]]\nname = 'd'\nplugin = 'p'\n[commands.retry]\nattempts = 3\non = ['lost', 'canceled']\n" +
			"[[commands]]\nname = 'e'\nplugin = 'p'\nretry = 3\nmax_priority = 'high'\n" +
			"[[commands]]\nname = 'f'\nplugin = 'p'\nretry = { attempts = 3, backoff = '0s' }\n[[commands]]\nname = 'g'\nplugin = 'p'\nretry = { attempts = 3, backoff = '-1s' }\n" +
			"[[commands]]\nname = 'h'\nplugin = 'p'\nretry = { backoff = '0s' }\n[[commands]]\nname = 'i'\nplugin = 'p'\nretry = { attempts = 3, backoff = 5 }\n",
		want: `@:4: commands[0].retry.attempts: this is 101; it must be between 1 and 100, the first attempt included
@:8: commands[1].retry.attempts: this is 0; it must be between 1 and 100, the first attempt included
@:14: commands[2].retry.backoff: this is 11m0s; it must be more than 0s, and at most 10m0s
@:20: commands[3].retry.on: this names "canceled"; what can be retried is failed, denied, quota, unavailable, transient, timeout, lost, internal
@:24: commands[4].retry: this is a whole number; want a table
@:25: commands[4].max_priority: this is a string; want a whole number
@:29: commands[5].retry.backoff: this is 0s; it must be more than 0s, and at most 10m0s
@:33: commands[6].retry.backoff: this is -1s; it must be more than 0s, and at most 10m0s
@:37: commands[7].retry.attempts: this is 0; it must be between 1 and 100, the first attempt included
@:37: commands[7].retry.backoff: this is 0s; it must be more than 0s, and at most 10m0s
@:41: commands[8].retry.backoff: this is a whole number; want a duration such as "30s" or "5m"`,
	},
	"a policy of a variable": {
		text: "",
		env:  []string{"HEIMDALL_PLUGINS_POLICY=shared"},
		want: "HEIMDALL_PLUGINS_POLICY: plugins.policy: a variable cannot say this; write it into the file",
	},
	"policies that are no tables": {
		text: "[plugins]\npolicy = 1\n",
		want: "@:2: plugins.policy: this is a whole number; want a table",
	},
	"others could look into the process": {
		text: "[server]\ndebug_listen = '0.0.0.0:6060'",
		want: `@:2: server.debug_listen: "0.0.0.0:6060" can be reached by others, or is not host:port; write it like "127.0.0.1:6060"`,
	},
	"a port that is none": {
		text: "[server]\nlisten = '127.0.0.1:http'",
		want: `@:2: server.listen: "127.0.0.1:http" has no port between 0 and 65535`,
	},
	"nobody could be known": {
		text: "auth.trusted_headers = []",
		want: "@:1: auth.trusted_headers: this is empty, so that nobody could be known; name a header",
	},
	"variables that are not set": {
		text: "data_dir = '${NOWHERE}/x'\n[[clusters]]\nname = 'a'\ntags = ['x', 'y:${NOT_HERE}']\n",
		want: `@:1: data_dir: the environment has no NOWHERE; set it, or write $$ for a dollar
@:4: clusters[0].tags[1]: the environment has no NOT_HERE; set it, or write $$ for a dollar`,
	},
	"references that cannot be read": {
		text: "data_dir = '${A'\n[log]\nlevel = '${file:/x}'\nformat = '${a b}'\n[plugin.x]\na = ['${B:-c}']\n[[clusters]]\nname = 'a'\ncontext.deep.list = [\n  '$', '${}' ]\n",
		want: `@:1: data_dir: a reference that begins with ${ has no }; write $$ for a dollar
@:3: log.level: ${file:/x} is for contexts only; here write ${NAME}, or $$ for a dollar
@:4: log.format: ${a b} is not a reference; write ${NAME}, ${env:NAME} or ${file:path}, or $$ for a dollar
@:6: plugin.x.a[0]: ${B:-c} is not a reference; write ${NAME}, ${env:NAME} or ${file:path}, or $$ for a dollar
@:10: clusters[0].context.deep.list[1]: ${} is not a reference; write ${NAME}, ${env:NAME} or ${file:path}, or $$ for a dollar`,
	},
	"a number that JSON does not have": {
		text: "[plugin.x.y]\na = nan\n",
		want: "@:2: plugin.x.y.a: this is not a finite number; a context is JSON, which has no other",
	},
	"a plugin that cannot be": {
		text: "[plugin.'a/b']\n",
		want: `@:1: plugin."a/b": the name of a plugin is small letters, digits, "-" and "_", at most 63; want what follows "heimdall-plugin-" in the name of its file`,
	},
	"bad variables": {
		text: "[log]\nlevel = 'loud'\n",
		env:  []string{"HEIMDALL_QUEUE_WORKERS=many", "HEIMDALL_QUEUE_CANCEL_GRACE=5", "HEIMDALL_AUTH_TRUSTED_PROXIES=::1/128,x", "HEIMDALL_STORE_URL="},
		want: `HEIMDALL_AUTH_TRUSTED_PROXIES: auth.trusted_proxies[1]: "x" is not a range of addresses; write it like "10.0.0.0/8" or "fd00::/8"
HEIMDALL_QUEUE_CANCEL_GRACE: queue.cancel_grace: "5" is not a duration such as "30s" or "5m"
HEIMDALL_QUEUE_WORKERS: queue.workers: "many" is not a whole number
HEIMDALL_STORE_URL: store.url: want "sqlite" or "postgres://user:password@host:5432/database"
@:2: log.level: "loud" is not one of trace, debug, info, warn, error, off`,
	},
	"no TOML": {
		text: "[server]\nlisten = 127.0.0.1:9090\n",
		want: `@:2: server.listen: this is not TOML: Invalid float value: "127.0.0.1"`,
	},
	"a key given twice": {
		text: "[log]\nlevel = 'info'\nlevel = 'warn'\n",
		want: "@:3: log.level: this is not TOML: Key 'log.level' has already been defined",
	},
	"a string without an end": {
		text: "data_dir = 'a",
		want: "@:1: data_dir: this is not TOML: unexpected EOF; expected \"'\"",
	},
	"a list without an end": {
		text: "[auth]\noperators = ['a',\n",
		want: "@:2: auth.operators: this is not TOML: unexpected EOF; expected value",
	},
	"no text": {
		text: "[log]\nlevel = '\xff'\n",
		want: "@:2: this is not UTF-8 text",
	},
	"control characters": {
		text: "\x04\x0f\x0f = 1",
		want: "@:1: this is not TOML: TOML files cannot contain control characters: '0x04'",
	},
	"nested without end": {
		text: "[plugin.x]\na = " + strings.Repeat("[", 1<<20),
		want: "@:2: this nests deeper than 64 levels; make it flatter",
	},
	"nested keys": {
		text: strings.Repeat("a.", 1<<12) + "a = 1",
		want: "@:1: this nests deeper than 64 levels; make it flatter",
	},
}

func badTexts() []string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		if text := bad[name].text; len(text) < 4096 {
			texts = append(texts, text)
		}
	}
	return texts
}

func TestLoadNamesEveryFault(t *testing.T) {
	t.Parallel()
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.text)
			c, err := config.Load(path, test.env)
			if err == nil {
				t.Fatalf("Load = %+v, want an error", c)
			}
			if got := strings.ReplaceAll(err.Error(), path, "@"); got != test.want {
				t.Errorf("Load: got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestLoadRefusesFiles(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing.toml")
	for path, want := range map[string]string{
		missing:       "read the configuration: open " + missing + ": no such file or directory",
		t.TempDir():   "is a directory",
		"/dev/zero":   "/dev/zero: this is larger than 16 MiB, which no configuration is",
		"a\x00b.toml": "invalid argument",
	} {
		if _, err := config.Load(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q) = %v, want %q", path, err, want)
		}
	}
}
