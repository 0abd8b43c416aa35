package pluginhost

import (
	"errors"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Bounds of what an attempt may report. The sdk keeps to them; other plugins are
// cut down to them.
const (
	maxNamed   = 512      // outputs, and units of usage, of one attempt
	maxName    = 1 << 10  // of an output or a unit, bytes
	maxMessage = 8 << 10  // of an error, of progress, of an output's value
	maxDetail  = 32 << 10 // of an error, for the log
)

// breach is why an attempt cannot be followed: its plugin does not keep to the
// protocol, and would not another time either.
type breach struct{ what string }

// Error says what the plugin did.
func (b *breach) Error() string { return b.what }

func breached(err error) bool {
	_, ok := errors.AsType[*breach](err)
	return ok
}

// errNoEnd is why a stream of events is followed again that its plugin has ended.
var errNoEnd = errors.New("it ended the stream of events before the job")

// tooLarge reports whether gRPC has refused a message of the other side. Its
// code is also one that plugins use.
func tooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.HasPrefix(sentence(err), "grpc: received message")
}

// reports is what of an attempt's reports must be remembered to bound them.
type reports struct {
	outputs, units map[string]bool
	dropped        bool
}

// admit reports whether a name is known or may be added to those that are.
func admit(known *map[string]bool, name string) bool {
	if (*known)[name] {
		return true
	}
	if name == "" || len(name) > maxName || len(*known) >= maxNamed {
		return false
	}
	if *known == nil {
		*known = map[string]bool{}
	}
	(*known)[name] = true
	return true
}

func (x *execution) progress(p *pluginpb.Progress) {
	if !finite(p.GetDone()) || !finite(p.GetTotal()) {
		x.drop("progress that is no number")
		return
	}
	x.sink.Progress(p.GetDone(), p.GetTotal(), clip(x.mask(p.GetMessage()), maxMessage))
}

func (x *execution) output(o *pluginpb.Output) {
	key, value := x.mask(o.GetKey()), x.mask(o.GetValue())
	if !admit(&x.reports.outputs, key) {
		x.drop("an output beyond the number that is kept, or with a bad name")
		return
	}
	output := job.Output{Key: key, Value: clip(value, maxMessage), Kind: "text"}
	if o.GetKind() == pluginpb.OutputKind_OUTPUT_KIND_LINK && job.WebAddress(value) {
		output.Kind = "link"
	}
	x.sink.Output(output)
}

func (x *execution) usage(u *pluginpb.Usage) {
	unit := x.mask(u.GetUnit())
	if !finite(u.GetAmount()) || !admit(&x.reports.units, unit) {
		x.drop("usage that is no number, beyond the units that are kept, or of a bad unit")
		return
	}
	x.sink.Usage(unit, u.GetAmount())
}

// mask takes the secrets of the process out of a text.
func (x *execution) mask(text string) string { return x.process.child.mask.text(text) }

// drop says once in an attempt that something of its reports is left out.
func (x *execution) drop(what string) {
	if !x.reports.dropped {
		x.reports.dropped = true
		x.process.log.Warn("something that a plugin reports is left out, and more may be", "attempt_id", x.attempt, "what", what)
	}
}

func finite(n float64) bool { return !math.IsNaN(n) && !math.IsInf(n, 0) }

// clip cuts a text to a number of bytes, at a rune.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
