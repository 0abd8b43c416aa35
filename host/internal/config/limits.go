package config

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/sdk/pluginname"
)

// Policy is a [plugins.policy.<name>] table: how processes of one plugin are run.
type Policy struct {
	// Isolation is shared, which is one process for all jobs, or per-job, which
	// is a process for each. Default: what the plugin prefers.
	Isolation string `toml:"isolation"`

	Limits
}

// Limits are upper bounds of processes.
type Limits struct {
	// Memory is what a job, or a process of a plugin, and everything below it may
	// use together: bytes, or a text such as 512MiB. Default: 0, no limit.
	Memory Bytes `toml:"memory"`
	// CPU is the processor time of each process, in whole seconds. Default: 0s, no
	// limit.
	CPU time.Duration `toml:"cpu"`
	// OpenFiles is the number of open files of each process. Default: 0, as many
	// as the host may.
	OpenFiles int64 `toml:"open_files"`
	// Core is the size of a core file: bytes, or a text such as 1GiB. Default: 0,
	// none is written.
	Core Bytes `toml:"core"`
}

// Bytes is a size.
type Bytes int64

// The least that makes sense.
const (
	leastMemory    = 1 << 20
	leastOpenFiles = 32
)

var units = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseBytes reads a size such as 512MiB.
func parseBytes(s string) (Bytes, error) {
	digits := strings.TrimRight(s, "BKMGTi")
	unit, known := units[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf(`%q is not a size such as "512MiB" or "2GiB"`, s)
	}
	return Bytes(n * unit), nil
}

func (d *decoder) bytes(key string, value any, to *Bytes) {
	switch v := value.(type) {
	case int64:
		*to = Bytes(v)
	case string:
		s, ok := d.text(key, v)
		if !ok {
			return
		}
		n, err := parseBytes(s)
		if err != nil {
			d.faults.add(key, "%v", err)
		}
		*to = n
	default:
		d.mismatch(key, value, `a size such as "512MiB", or a number of bytes`)
	}
}

// policies decodes a table of policies.
func (d *decoder) policies(key string, value any, to *map[string]Policy) {
	tables, ok := value.(map[string]any)
	if !ok {
		d.mismatch(key, value, "a table")
		return
	}
	*to = make(map[string]Policy, len(tables))
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		var p Policy
		d.value(join(key, name), tables[name], reflect.ValueOf(&p).Elem())
		(*to)[name] = p
	}
}

func checkPolicies(found *faults, policies map[string]Policy) {
	for name, p := range policies {
		key := join("plugins.policy", name)
		if !pluginname.Valid(name) {
			found.add(key, "%s", wantPluginName)
		}
		if p.Isolation != "" {
			checkOneOf(found, key+".isolation", p.Isolation, "shared", "per-job")
		}
		checkLimits(found, key, p.Limits)
	}
}

func checkLimits(found *faults, key string, l Limits) {
	if l.Memory != 0 && l.Memory < leastMemory {
		found.add(key+".memory", `%d is too small; it must be "1MiB" or more, or 0 for no limit`, l.Memory)
	}
	if l.CPU < 0 || l.CPU%time.Second != 0 {
		found.add(key+".cpu", `%v cannot be held; it must be whole seconds, or "0s" for no limit`, l.CPU)
	}
	if l.OpenFiles != 0 && l.OpenFiles < leastOpenFiles {
		found.add(key+".open_files", "%d is too small; it must be %d or more, or 0 for as many as the host may", l.OpenFiles, leastOpenFiles)
	}
	if l.Core < 0 {
		found.add(key+".core", "%d is too small; it must be 0 or more", l.Core)
	}
}

func (l Limits) catalog() catalog.Limits {
	return catalog.Limits{
		MemoryBytes: int64(l.Memory), CPUSeconds: int64(l.CPU / time.Second), OpenFiles: l.OpenFiles, CoreBytes: int64(l.Core),
	}
}
