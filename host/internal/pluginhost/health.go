package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

// Health is what a plugin says of settings.
type Health struct {
	Checked bool // the plugin has looked
	OK      bool // work could be done with them now
	Detail  string
}

// Check asks the build that serves a plugin whether work could be done with settings.
// An error says why it could not be asked, or has not answered before ctx was done.
func (h *Host) Check(ctx context.Context, plugin, version string, settings json.RawMessage, secrets map[string][]byte) (Health, error) {
	p, err := h.pick(plugin, version)
	if err != nil {
		return Health{}, err
	}
	if p.running.Add(1) < 0 { // it ends
		p.running.Add(-1)
		return Health{}, fmt.Errorf("plugin %s is being replaced", plugin)
	}
	defer p.running.Add(-1)
	request := &pluginpb.CheckRequest{Settings: settings, Secrets: secretMessages(secrets)}
	p.child.mask.tell(request.Secrets)
	answer, err := p.commands.Check(ctx, request)
	switch {
	case unimplemented(err):
		return Health{OK: true}, nil
	case ctx.Err() != nil:
		return Health{}, fmt.Errorf("plugin %s did not answer in time", plugin)
	case err != nil:
		return Health{}, fmt.Errorf("plugin %s: %s", plugin, p.sentence(err))
	}
	return Health{Checked: answer.GetChecked(), OK: answer.GetOk(), Detail: p.child.mask.text(answer.GetDetail())}, nil
}

// Described returns what the build says of itself that serves a plugin.
func (h *Host) Described(plugin, version string) (*Description, error) {
	p, err := h.pick(plugin, version)
	if err != nil {
		return nil, err
	}
	return p.description, nil
}

// Descriptions returns what each build says of itself that serves, those of one plugin
// together.
func (h *Host) Descriptions() (all []*Description) {
	for _, services := range *h.serving.Load() {
		for _, s := range services {
			if p := s.process(); p != nil {
				all = append(all, p.description)
			}
		}
	}
	return all
}
