package pluginhost

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

const (
	// leastSecret is the length of the shortest secret that is looked for in what a
	// process says: shorter ones are parts of words.
	leastSecret = 4
	// mostSecrets bounds how many a process is remembered to know. Those that were
	// told first go first.
	mostSecrets = 1000
	// inItsPlace stands for a secret, as where the sdk prints one.
	inItsPlace = "[secret]"
)

// mask knows the secrets that a process was told, and takes them out of what it says
// of itself and of its jobs, as they are and as programs mostly write them. What a job
// writes to its streams and its result is not looked at: that is its work.
type mask struct {
	any   atomic.Bool // there is one
	mu    sync.RWMutex
	told  []string            // in the order in which they were
	forms map[string][]string // of each, the longest first
}

// tell remembers secrets.
func (m *mask) tell(secrets []*pluginpb.Secret) {
	for _, secret := range secrets {
		m.add(secret.GetValue())
	}
}

func (m *mask) add(value []byte) {
	if len(value) < leastSecret {
		return
	}
	m.mu.RLock()
	_, known := m.forms[string(value)]
	m.mu.RUnlock()
	if known {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.told) == mostSecrets {
		delete(m.forms, m.told[0])
		m.told = slices.Delete(m.told, 0, 1)
	}
	if m.forms == nil {
		m.forms = map[string][]string{}
	}
	m.told = append(m.told, string(value))
	m.forms[string(value)] = forms(string(value))
	m.any.Store(true)
}

// text returns a text without the secrets.
func (m *mask) text(s string) string {
	if s == "" || !m.any.Load() {
		return s
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, forms := range m.forms {
		for _, form := range forms {
			s = strings.ReplaceAll(s, form, inItsPlace)
		}
	}
	return s
}

// forms returns how programs write a secret, the longest first. Of one of several lines,
// such as a key, each line counts: logs are looked at by line.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	all := []string{
		secret, quoted[1 : len(quoted)-1], url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:],
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)),
		base64.URLEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for _, html := range []bool{true, false} {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(html)
		if encoder.Encode(secret) == nil {
			all = append(all, strings.Trim(b.String(), "\"\n"))
		}
	}
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 4*leastSecret && !strings.HasPrefix(line, "-----") {
			all = append(all, line)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.DeleteFunc(slices.Compact(all), func(form string) bool { return len(form) < leastSecret })
}
