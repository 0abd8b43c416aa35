package conformance

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/heimdall-run/heimdall/sdk/pluginpb"
)

func settingsCases() []testCase {
	const (
		look      = "docs/plugins.md, Settings and input; ErrorClass in proto/heimdall/plugin/v1/event.proto"
		configure = "rpc Configure in proto/heimdall/plugin/v1/plugin.proto"
	)
	kinds := append(slices.Clone(anyEnd), "long")
	job := []string{afterEnd}
	return []testCase{
		{id: "settings-unknown", title: "an unknown key of the settings ends the job as invalid or internal", look: look, needs: kinds, after: job, run: unknownSettings},
		{id: "settings-wrong", title: "settings of the wrong type, or without a key that is required, end the job as invalid or internal", look: look, needs: kinds, after: job, run: wrongSettings},
		{id: "input-unknown", title: "an unknown key of the input ends the job as invalid", look: look, needs: kinds, after: job, run: unknownInput},
		{id: "input-wrong", title: "input of the wrong type, or without a key that is required, ends the job as invalid", look: look, needs: kinds, after: job, run: wrongInput},
		{id: "configure-again", title: "it takes the same settings of its own again, and passes over older ones", look: configure, run: configuresAgain},
		{id: "configure-refuses", title: "settings of its own that do not fit are refused with INVALID_ARGUMENT", look: configure, after: []string{"configure-again"}, run: refusesConfiguration},
	}
}

func unknownSettings(ctx context.Context, k *check) error {
	return k.refusesWrong(ctx, func(e *Example) []wrong {
		unknown, _, _ := k.settings.wrongs(e.settings)
		return unknown
	}, true)
}

func wrongSettings(ctx context.Context, k *check) error {
	return k.refusesWrong(ctx, func(e *Example) []wrong {
		_, mistyped, lacking := k.settings.wrongs(e.settings)
		return append(mistyped, lacking...)
	}, true)
}

func unknownInput(ctx context.Context, k *check) error {
	return k.refusesWrong(ctx, func(e *Example) []wrong {
		unknown, _, _ := k.input.wrongs(e.Input)
		return unknown
	}, false)
}

func wrongInput(ctx context.Context, k *check) error {
	return k.refusesWrong(ctx, func(e *Example) []wrong {
		_, mistyped, lacking := k.input.wrongs(e.Input)
		return append(mistyped, lacking...)
	}, false)
}

// refusesWrong runs an example with settings or input that its schema refuses,
// and checks whose fault it is said to be.
func (k *check) refusesWrong(ctx context.Context, pick func(*Example) []wrong, settings bool) error {
	e, err := k.example(append(slices.Clone(anyEnd), "long")...)
	if err != nil {
		return err
	}
	wrongs := pick(e)
	if len(wrongs) == 0 {
		return skip("its schema accepts anything of that kind")
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	what, want := "input", "the class invalid"
	if settings {
		what, want = "settings", "the class internal or invalid"
	}
	for _, w := range wrongs {
		request := p.request(e)
		if settings {
			request.Settings = w.text
		} else {
			request.Input = w.text
		}
		_, ended, err := k.finish(ctx, p, request)
		if err != nil {
			return fmt.Errorf("with the %s %s: %w", what, w.how, err)
		}
		got := ended.GetError().GetClass()
		if got == pluginpb.ErrorClass_ERROR_CLASS_INVALID || settings && got == pluginpb.ErrorClass_ERROR_CLASS_INTERNAL {
			continue
		}
		return saw("with the %s %s %s", what, w.how, outcome(ended)).want("%s, because its schema refuses that", want)
	}
	return nil
}

func configuresAgain(ctx context.Context, k *check) error {
	own, err := readSchema(k.description.GetPluginSettingsSchema())
	if err != nil || own.fits([]byte("{}")) != nil {
		return skip("its own settings have no defaults for all that they require")
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for _, generation := range []int64{1, 1, 2, 1} {
		err := k.configure(ctx, p, "{}", generation)
		if err := optional("Configure", err); err != nil {
			return err
		}
	}
	return p.answers(ctx, "Configure")
}

func refusesConfiguration(ctx context.Context, k *check) error {
	own, err := readSchema(k.description.GetPluginSettingsSchema())
	if err != nil {
		return skip("the schema of its own settings cannot be read")
	}
	unknown, mistyped, _ := own.wrongs([]byte("{}"))
	wrongs := append(unknown, mistyped...)
	if own.compiled == nil {
		wrongs = []wrong{{"a key, where there are no settings", []byte(`{"` + unknownKey + `": 1}`)}}
	}
	if len(wrongs) == 0 {
		return skip("the schema of its own settings accepts anything")
	}
	p, err := k.launch(ctx)
	if err != nil {
		return err
	}
	for i, w := range wrongs {
		err := k.configure(ctx, p, string(w.text), int64(i+1))
		if unimplemented(err) {
			return optional("Configure", err)
		}
		if err := refused("Configure with "+w.how, err, codes.InvalidArgument); err != nil {
			return err
		}
	}
	return p.answers(ctx, "settings that it refused")
}

func (k *check) configure(ctx context.Context, p *process, settings string, generation int64) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	_, err := p.plugins.Configure(ctx, &pluginpb.ConfigureRequest{Settings: []byte(settings), Generation: generation})
	return err
}
