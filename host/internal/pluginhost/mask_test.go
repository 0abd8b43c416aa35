package pluginhost

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	t.Parallel()
	const secret = `p"ss/w+rd é&<% 9`
	asJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	var m mask
	if got := m.text("none is known"); got != "none is known" {
		t.Errorf("without secrets: got %q", got)
	}
	m.add([]byte(secret))
	m.add([]byte("abc")) // part of many words
	for name, said := range map[string]string{
		"as it is":         secret,
		"in JSON":          string(asJSON),
		"quoted":           fmt.Sprintf("%q", secret),
		"in a query":       url.QueryEscape(secret),
		"in a path":        url.PathEscape(secret),
		"in an address":    (&url.URL{Scheme: "x", Host: "h", User: url.UserPassword("u", secret)}).String(),
		"in base64":        base64.StdEncoding.EncodeToString([]byte(secret)),
		"in base64 of web": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"in hex":           hex.EncodeToString([]byte(secret)),
	} {
		got := m.text("abc " + said + " end")
		if strings.Contains(got, "9") && !strings.HasPrefix(got, "abc x://u:[secret]@h") || !strings.Contains(got, inItsPlace) || !strings.HasPrefix(got, "abc ") || !strings.HasSuffix(got, " end") {
			t.Errorf("%s: got %q, want [secret] in the place of the secret", name, got)
		}
	}
}

func TestMaskOfManyLines(t *testing.T) {
	t.Parallel()
	var m mask
	m.add([]byte("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nshort\n-----END KEY-----\n"))
	if got := m.text("-----BEGIN KEY----- MIIEvQIBADANBgkqhkiG9w0"); got != "-----BEGIN KEY----- [secret]" {
		t.Errorf("one line of it: got %q", got)
	}
}

func TestMaskForgetsTheFirst(t *testing.T) {
	t.Parallel()
	var m mask
	for i := range mostSecrets + 1 {
		m.add(fmt.Appendf(nil, "secret-%04d", i))
	}
	if len(m.forms) != mostSecrets || len(m.told) != mostSecrets {
		t.Errorf("%d secrets and %d forms are remembered, want %d", len(m.told), len(m.forms), mostSecrets)
	}
	if got := m.text("secret-0000 secret-0001"); got != "secret-0000 [secret]" {
		t.Errorf("got %q", got)
	}
}
