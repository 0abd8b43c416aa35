package job

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Attachment is a file that comes with a job.
type Attachment struct {
	Name        string // without folders, one of a kind within its job
	ContentType string `json:",omitempty"`
	Bytes       int64
	SHA256      string // of its content, hexadecimal
	Host        string `json:",omitempty"` // that took it; the only one that has it, where hosts share no artifacts
}

// Bounds of the attachments of a job.
const (
	MaxAttachments    = 100
	MaxAttachmentName = 200 // bytes
)

// CheckAttachmentName returns what keeps a text from being the name of an
// attachment, as the end of a sentence; "" when nothing does.
func CheckAttachmentName(name string) string {
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
	}
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxAttachmentName:
		return "is too long"
	case name == "." || name == "..":
		return "is no name of a file"
	case strings.ContainsAny(name, `/\`):
		return "has a folder in it"
	case strings.ContainsFunc(name, odd):
		return "has control characters"
	}
	return ""
}
