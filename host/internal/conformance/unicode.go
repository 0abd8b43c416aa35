package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// unicode is text that only careful hands leave whole.
const unicode = "Zoë Ångström \"漢字\" 🚀 \\ مرحبا\u200b"

// traces returns what a job of an example leaves to see.
func (k *check) traces(ctx context.Context, p *process, request *pluginpb.StartRequest) (text []byte, well bool, err error) {
	events, ended, err := k.finish(ctx, p, request)
	if err != nil {
		return nil, false, err
	}
	for _, stream := range []string{"stdout", "stderr"} {
		text = append(text, readBegin(logFile(request, stream))...)
	}
	if r := result(events); r != nil {
		content, err := open(request, r)
		if err != nil {
			return nil, false, err
		}
		defer content.Close()
		read, err := io.ReadAll(io.LimitReader(content, 1<<20))
		if err != nil {
			return nil, false, err
		}
		text = append(text, read...)
	}
	return text, ended.GetError() == nil, nil
}

// shows reports whether a text is in what a job left, as it is or as JSON.
func shows(trace []byte, text string) bool {
	quoted := func(escape bool) []byte {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(escape)
		_ = enc.Encode(text) // strings can be
		return bytes.Trim(bytes.TrimSpace(out.Bytes()), `"`)
	}
	if bytes.Contains(trace, []byte(text)) || bytes.Contains(trace, quoted(true)) || bytes.Contains(trace, quoted(false)) {
		return true
	}
	// Writers may escape what is not ASCII.
	var ascii strings.Builder
	for _, r := range string(quoted(false)) {
		switch {
		case r < 0x80:
			ascii.WriteRune(r)
		case r < 0x10000:
			ascii.WriteString(escaped(r))
		default:
			r -= 0x10000
			ascii.WriteString(escaped(0xd800+r>>10) + escaped(0xdc00+r&0x3ff))
		}
	}
	return bytes.Contains(bytes.ToLower(trace), bytes.ToLower([]byte(ascii.String())))
}

func escaped(r rune) string {
	const digits = "0123456789abcdef"
	return `\u` + string([]byte{digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15]})
}

func keepsUnicode(ctx context.Context, k *check) error {
	e, err := k.example(anyEnd...)
	if err != nil {
		return err
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	plain := p.request(e)
	plain.User.Name = "check-user-7b1f"
	before, well, err := k.traces(ctx, p, plain)
	if err != nil || !well {
		return err
	}
	request := p.request(e)
	request.User = &pluginpb.User{Name: unicode, Groups: []string{unicode}}
	request.Job.Name, request.Job.Version, request.Job.Description, request.Job.Tags = unicode, unicode, unicode, []string{unicode}
	request.Command.Name, request.Cluster.Name = unicode, unicode
	after, well, err := k.traces(ctx, p, request)
	switch {
	case err != nil:
		return err
	case !well:
		return saw("a job whose name and user are %q does not end well", unicode).want("that names are only names")
	case shows(before, plain.GetUser().GetName()) && !shows(after, unicode):
		return saw("%q", clip(string(after), 200)).want("the user %q in it", unicode)
	}
	return k.keepsInput(ctx, p, e, before)
}

// keepsInput puts unusual text into those strings of the input that a job shows.
func (k *check) keepsInput(ctx context.Context, p *process, e *Example, before []byte) error {
	for _, text := range texts(e.Input) {
		if len(text) < 3 || !shows(before, text) {
			continue
		}
		old, _ := json.Marshal(text) // strings can be
		changed, _ := json.Marshal(text + unicode)
		request := p.request(e)
		request.Input = bytes.Replace(e.Input, old, changed, 1)
		if bytes.Equal(request.Input, e.Input) || k.input.fits(request.Input) != nil {
			continue
		}
		after, well, err := k.traces(ctx, p, request)
		if err != nil {
			return err
		}
		if well && !shows(after, text+unicode) {
			return saw("the input %q came out as %q", text+unicode, clip(string(after), 200)).want("each character")
		}
	}
	return nil
}

// texts returns the strings that are values in a JSON document.
func texts(text []byte) []string {
	var document any
	if json.Unmarshal(text, &document) != nil {
		return nil
	}
	var out []string
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case string:
			out = append(out, node)
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			for _, child := range node {
				walk(child)
			}
		}
	}
	walk(document)
	slices.Sort(out)
	return out
}
