// Package attribute makes what the catalog shows with a job: a text or a link from a
// template over the job and its pair. Templates are written by whoever declares
// commands and clusters, and run in the host, so that what they can do is little and
// ends soon: they have no loops, call no other template, and reach no methods. It does
// no input or output.
package attribute

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
	"unicode"
	"unicode/utf8"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Bounds of what an object may declare, and of what is shown.
const (
	Most     = 32      // attributes of an object
	maxLabel = 256     // bytes
	maxText  = 4 << 10 // of a template, bytes
	maxValue = 8 << 10 // of what is shown, bytes
)

// Kinds of attributes.
const (
	Link = "link"
	Text = "text"
)

// ErrMissing is why there is nothing to show: the template names a key that is not
// there.
var ErrMissing = errors.New("a key is missing")

// LabelFault says why a text cannot be the name of an attribute; "" when it can.
func LabelFault(label string) string {
	switch {
	case strings.TrimSpace(label) == "":
		return "an attribute has no name"
	case len(label) > maxLabel:
		return fmt.Sprintf("the name is longer than %d bytes", maxLabel)
	case !utf8.ValidString(label) || strings.ContainsFunc(label, unicode.IsControl):
		return fmt.Sprintf("%q has characters that no name may have", label)
	}
	return ""
}

// Fault says why a text cannot be the template of an attribute of a kind; "" when it
// can.
func Fault(kind, text string) string {
	if text == "" {
		return "this is missing; say what is shown"
	}
	t, err := read(text)
	if err != nil {
		return err.Error()
	}
	if kind != Link || len(t.Root.Nodes) == 0 {
		return ""
	}
	if first, ok := t.Root.Nodes[0].(*parse.TextNode); ok && !begins(string(first.Text)) {
		return "a link must begin with http:// or https://"
	}
	return ""
}

// begins reports whether a text is the beginning of a web address.
func begins(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return slices.ContainsFunc([]string{"http://", "https://"}, func(scheme string) bool {
		return strings.HasPrefix(text, scheme) || strings.HasPrefix(scheme, text)
	})
}

// read reads a template.
func read(text string) (*template.Template, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("this is longer than %d bytes", maxText)
	}
	t, err := template.New("").Option("missingkey=error").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("this is no template: %s", sentence(err))
	}
	if len(t.Templates()) > 1 || t.Tree == nil || t.Root == nil {
		return nil, errors.New("this is no template: it may not define others, and must show something")
	}
	if err := check(t.Root); err != nil {
		return nil, fmt.Errorf("this template is refused: %w", err)
	}
	return t, nil
}

// mostKept bounds how many templates a renderer keeps: objects come and go.
const mostKept = 1024

// Renderer renders templates. Its zero value is ready; many may use it at once.
type Renderer struct {
	mu   sync.Mutex
	kept map[string]*template.Template
}

// Render returns what an attribute of a kind shows of data, which are maps, lists and
// scalars; "" when that is nothing. ErrMissing: the template names a key that is not
// there.
func (r *Renderer) Render(kind, text string, data map[string]any) (string, error) {
	t, err := r.template(text)
	if err != nil {
		return "", err
	}
	var b bounded
	if err := t.Execute(&b, data); err != nil {
		// text/template has no error of its own for this.
		if errors.Is(err, ErrMissing) || strings.Contains(err.Error(), "map has no entry for key") {
			return "", ErrMissing
		}
		return "", fmt.Errorf("the template fails: %s", sentence(err))
	}
	value := strings.TrimSpace(strings.Map(printable, b.String()))
	if value != "" && kind == Link && !job.WebAddress(value) {
		return "", fmt.Errorf("%.100q is no http or https address", value)
	}
	return value, nil
}

// sentence returns an error of text/template without the name of the template, which
// has none.
func sentence(err error) string {
	if text, ok := strings.CutPrefix(err.Error(), "template: :"); ok {
		return "line " + text
	}
	return err.Error()
}

// printable leaves out what no text may have.
func printable(c rune) rune {
	if c == unicode.ReplacementChar || unicode.IsControl(c) && c != '\n' && c != '\t' {
		return -1
	}
	return c
}

func (r *Renderer) template(text string) (*template.Template, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.kept[text]; t != nil {
		return t, nil
	}
	t, err := read(text)
	if err != nil {
		return nil, err
	}
	if r.kept == nil || len(r.kept) >= mostKept {
		r.kept = map[string]*template.Template{}
	}
	r.kept[text] = t
	return t, nil
}

// bounded takes as much as may be shown.
type bounded struct{ strings.Builder }

// Write implements io.Writer. It fails when there is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxValue {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

var errTooLong = fmt.Errorf("it makes more than %d bytes", maxValue)
