package store

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// maxPattern is the length of the longest pattern, bytes.
const maxPattern = 1000

// pattern is a LIKE pattern, taken apart.
type pattern struct {
	text  string // as it was written
	start string // the text before the first wildcard, without escapes
	plain bool   // there are no wildcards: start is the only match
	open  bool   // behind start there is but %: whatever begins with it matches
}

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	var start strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '%', '_':
			p.start, p.open = start.String(), strings.Trim(text[i:], "%") == ""
			// What is behind decides nothing but whether it can be read.
			if tail := len(text) - len(strings.TrimRight(text[i:], `\`)) - i; tail%2 == 1 {
				return p, loneEscape()
			}
			return p, nil
		case '\\':
			if i++; i == len(text) {
				return p, loneEscape()
			}
			start.WriteByte(text[i])
		default:
			start.WriteByte(c)
		}
	}
	p.start, p.plain = start.String(), true
	return p, nil
}

func loneEscape() error {
	return fmt.Errorf(`ends in a lone \: write \\ for the character itself`)
}

// behind returns the least text that is behind all text with a start, in the order
// of code points, which is that of bytes; false when there is none.
func behind(start string) (string, bool) {
	for start != "" {
		last, size := utf8.DecodeLastRuneInString(start)
		start = start[:len(start)-size]
		switch last++; {
		case last == 0xd800: // the surrogates are no characters
			return start + "\ue000", true
		case last <= utf8.MaxRune:
			return start + string(last), true
		}
	}
	return "", false
}

// idsFrom returns the first and the last id that may begin with a text; false when
// no id does.
func idsFrom(start string) (first, last job.ID, ok bool) {
	const form = "00000000-0000-0000-0000-000000000000"
	if len(start) > len(form) {
		return "", "", false
	}
	for i := range len(start) {
		if dash := form[i] == '-'; dash != (start[i] == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(start[i])) {
			return "", "", false
		}
	}
	rest := form[len(start):]
	return job.ID(start + rest), job.ID(start + strings.ReplaceAll(rest, "0", "f")), true
}
