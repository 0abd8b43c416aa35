package main

import (
	"testing"

	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

func TestPing(t *testing.T) {
	t.Parallel()

	for name, input := range map[string]any{
		"without input":  nil,
		"with any input": map[string]any{"left": "over", "from": []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := sdktest.Run(t, func() *Ping { return &Ping{} }, nil, input, sdktest.User("alice"))
			if got.Err != nil {
				t.Fatalf("Err = %v, want none", got.Err)
			}
			if want := "Hello, alice!"; got.Text != want {
				t.Errorf("Text = %q, want %q", got.Text, want)
			}
			if len(got.Events) != 3 {
				t.Errorf("got %d events, want started, result and ended", len(got.Events))
			}
		})
	}
}

func TestPingTakesNoSettings(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, func() *Ping { return &Ping{} }, map[string]any{"message": "hi"}, nil)
	if want := `settings: unknown key "message"; none is known`; got.Err == nil || got.Err.Message != want {
		t.Errorf("Err = %v, want %q", got.Err, want)
	}
}
