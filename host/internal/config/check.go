package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/objectstore/location"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

// Validate returns what is wrong with the configuration, all faults joined. Load
// has done so already; it is for callers that change settings afterwards.
func (c *Config) Validate() error {
	found := newFaults("", nil)
	c.check(found)
	return found.err()
}

func (c *Config) check(found *faults) {
	c.checkSettings(found)
	for name := range c.Plugin {
		if !pluginname.Valid(name) {
			found.add(join("plugin", name), "%s", wantPluginName)
		}
	}
	c.checkCatalog(found)
}

func (c *Config) checkSettings(found *faults) {
	if c.DataDir == "" {
		found.add("data_dir", "this is empty; name a folder")
	}
	if at := c.Server.Advertise; at != "" {
		host, port, err := net.SplitHostPort(at)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.ContainsAny(host, " /") || portErr != nil || n == 0 {
			found.add("server.advertise", `%q is not host:port; write it like "10.0.0.7:9090"`, at)
		}
	}
	if host, port, err := net.SplitHostPort(c.Server.Listen); err != nil || strings.ContainsAny(host, " /") {
		found.add("server.listen", `%q is not host:port; write it like "127.0.0.1:9090"`, c.Server.Listen)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		found.add("server.listen", "%q has no port between 0 and 65535", c.Server.Listen)
	}
	if at := c.Server.DebugListen; at != "" && !loopback(at) {
		found.add("server.debug_listen", `%q can be reached by others, or is not host:port; write it like "127.0.0.1:6060"`, at)
	}
	checkPositive(found, "server.max_body_bytes", c.Server.MaxBodyBytes)
	checkPositive(found, "server.max_context_bytes", c.Server.MaxContextBytes)
	checkPositive(found, "server.max_batch_bytes", c.Server.MaxBatchBytes)
	checkPositive(found, "server.max_attachment_bytes", c.Server.MaxAttachmentBytes)
	if c.Server.MaxAttachmentBytes > maxAttachmentBytes {
		found.add("server.max_attachment_bytes", "%d is too large; it may be %d", c.Server.MaxAttachmentBytes, int64(maxAttachmentBytes))
	}
	// The value is not shown: it may hold a password.
	if c.Store.URL != "sqlite" && !hasScheme(c.Store.URL, "postgres", "postgresql") {
		found.add("store.url", `want "sqlite" or "postgres://user:password@host:5432/database"`)
	}
	if _, err := location.Parse(c.Artifacts.URL); err != nil {
		found.add("artifacts.url", "%v", err)
	}
	if c.Plugins.Directory == "" {
		found.add("plugins.directory", "this is empty; name a folder")
	}
	checkPositive(found, "plugins.start_timeout", c.Plugins.StartTimeout)
	checkPolicies(found, c.Plugins.Policy)
	for i, name := range c.Plugins.Environment {
		if !variableName.MatchString(name) {
			found.add(element("plugins.environment", i), "%q is not the name of a variable", name)
		}
	}
	checkPositive(found, "queue.workers", c.Queue.Workers)
	checkNotNegative(found, "queue.timeout", c.Queue.Timeout)
	checkNotNegative(found, "queue.shutdown_grace", c.Queue.ShutdownGrace)
	checkNotNegative(found, "queue.cancel_grace", c.Queue.CancelGrace)
	if c.Queue.Lease < time.Second {
		found.add("queue.lease", "%v is too small; it must be 1s or more", c.Queue.Lease)
	}
	if c.Queue.LostAfter <= c.Queue.Lease {
		found.add("queue.lost_after", "%v is too small; it must be more than queue.lease, which is %v", c.Queue.LostAfter, c.Queue.Lease)
	}
	checkNotNegative(found, "queue.max_log_bytes", c.Queue.MaxLogBytes)
	checkNotNegative(found, "queue.keep_log_bytes", c.Queue.KeepLogBytes)
	checkNotNegative(found, "queue.max_result_bytes", c.Queue.MaxResultBytes)
	checkNotNegative(found, "queue.max_running_per_user", c.Queue.MaxRunningPerUser)
	checkNotNegative(found, "queue.max_waiting", c.Queue.MaxWaiting)
	checkNotNegative(found, "queue.max_waiting_per_user", c.Queue.MaxWaitingPerUser)
	checkNotNegative(found, "queue.keep", c.Queue.Keep)
	c.checkAuth(found)
	for i, name := range c.Secrets.Env {
		if !variableName.MatchString(name) {
			found.add(element("secrets.env", i), "%q is not the name of a variable", name)
		}
	}
	if dir := c.Secrets.Dir; dir != "" && !filepath.IsAbs(dir) {
		found.add("secrets.dir", "%q is not an absolute path; references name files by such", dir)
	}
	checkOneOf(found, "log.level", c.Log.Level, "trace", "debug", "info", "warn", "error", "off")
	checkOneOf(found, "log.format", c.Log.Format, "text", "json")
}

func (c *Config) checkAuth(found *faults) {
	if len(c.Auth.TrustedHeaders) == 0 {
		found.add("auth.trusted_headers", "this is empty, so that nobody could be known; name a header")
	}
	for i, name := range c.Auth.TrustedHeaders {
		if !headerName.MatchString(name) {
			found.add(element("auth.trusted_headers", i), "%q is not the name of a header", name)
		}
	}
	for i, s := range c.Auth.TrustedProxies {
		if _, err := netip.ParsePrefix(s); err == nil {
			continue
		}
		key := element("auth.trusted_proxies", i)
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			found.add(key, `%q is one address; write "%s/%d"`, s, s, addr.BitLen())
		} else {
			found.add(key, `%q is not a range of addresses; write it like "10.0.0.0/8" or "fd00::/8"`, s)
		}
	}
	for i, name := range c.Auth.Operators {
		if strings.TrimSpace(name) == "" {
			found.add(element("auth.operators", i), "this is empty; name a user")
		}
	}
}

// maxAttachmentBytes is the largest object that an S3 service copies at once.
const maxAttachmentBytes = 5 << 30

func checkPositive[N int | int64 | time.Duration](found *faults, key string, n N) {
	if n <= 0 {
		found.add(key, "%v is too small; it must be more than 0", n)
	}
}

func checkNotNegative[N int | int64 | time.Duration](found *faults, key string, n N) {
	if n < 0 {
		found.add(key, "%v is too small; it must be %v or more", n, N(0))
	}
}

func checkOneOf(found *faults, key, value string, known ...string) {
	if !slices.Contains(known, value) {
		found.add(key, "%q is not one of %s", value, strings.Join(known, ", "))
	}
}

func hasScheme(url string, schemes ...string) bool {
	scheme, rest, ok := strings.Cut(url, "://")
	return ok && rest != "" && slices.Contains(schemes, scheme)
}
