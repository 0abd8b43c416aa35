package registry

import "unicode/utf8"

// like reports whether a text matches a pattern as LIKE does: % stands for any text, _
// for one character, and \ before one of these for the character itself. The empty
// pattern matches everything.
func like(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	// Where to go on when what was tried last does not match: behind the last %.
	again, from := "", ""
	hope := false
	for {
		if pattern == "" {
			if text == "" {
				return true
			}
		} else if pattern[0] == '%' {
			pattern = pattern[1:]
			again, from, hope = pattern, text, true
			continue
		} else if text != "" {
			want, size, one := step(pattern)
			got, n := utf8.DecodeRuneInString(text)
			if one || want == got {
				pattern, text = pattern[size:], text[n:]
				continue
			}
		}
		if !hope || from == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(from)
		from = from[n:]
		pattern, text = again, from
	}
}

// step reads the next character of a pattern, and how long it is written; one says that
// it stands for any.
func step(pattern string) (want rune, size int, one bool) {
	if pattern[0] == '_' {
		return 0, 1, true
	}
	escaped := 0
	if pattern[0] == '\\' && len(pattern) > 1 {
		escaped = 1
	}
	want, size = utf8.DecodeRuneInString(pattern[escaped:])
	return want, size + escaped, false
}
