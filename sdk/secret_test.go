package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/heimdall-run/heimdall/sdk"
	"github.com/heimdall-run/heimdall/sdk/pluginpb"
	"github.com/heimdall-run/heimdall/sdk/sdktest"
)

// vault holds a secret in every way that a struct can.
type vault struct {
	Token  sdk.Secret            `json:"token" required:"true"`
	Old    *sdk.Secret           `json:"old"`
	List   []sdk.Secret          `json:"list"`
	Named  map[string]sdk.Secret `json:"named"`
	hidden sdk.Secret
}

func (v *vault) Run(_ context.Context, job *sdk.Job[sdk.None]) error {
	newest, _ := job.Secret("/token")
	return job.Text(fmt.Sprint(v.Token.Reveal() == newest.Reveal(), " ", v.Token, v.List, v.Named, newest))
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()

	const canary = "hunter2"
	secret := sdk.NewSecret(canary)
	v := vault{Token: secret, Old: &secret, List: []sdk.Secret{secret}, Named: map[string]sdk.Secret{"a": secret}, hidden: secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		for _, value := range []any{secret, &secret, v, &v, []any{secret}, map[string]any{"k": v}, struct{ s sdk.Secret }{secret}, fmt.Errorf(verb, secret)} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	fmt.Fprintln(&out, secret, v.hidden)
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "secret", secret, "vault", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", secret, "vault", v)
	if err := json.NewEncoder(&out).Encode(v); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q was printed:\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), `"token":"[secret]"`) {
		t.Errorf("got %s, want that a secret is there", out.String())
	}
	if secret.Reveal() != canary || secret.IsZero() || !(sdk.Secret{}).IsZero() || (sdk.Secret{}).String() != "" {
		t.Error("a secret does not say what it holds")
	}
}

func TestSecretSettings(t *testing.T) {
	t.Parallel()

	got := sdktest.Run(t, func() *vault { return &vault{} }, json.RawMessage(`{"list":["a"]}`), nil,
		sdktest.Secret("/token", "t"), sdktest.Secret("/named/k", "n"))
	if want := "true [secret][[secret]]map[k:[secret]][secret]"; strings.ReplaceAll(got.Text, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %q and %v, want %q", got.Text, got.Err, want)
	}
	got = sdktest.Run(t, func() *vault { return &vault{} }, json.RawMessage(`{"token":12345}`), nil)
	if got.Err == nil || strings.Contains(got.Err.Message, "12345") {
		t.Errorf("got %v, want an error without the value", got.Err)
	}
	h := newHost(t, func() *vault { return &vault{} })
	described, err := h.Describe(t.Context(), &pluginpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(described.GetSettingsSchema(), `"x-heimdall-secret":true`); n != 4 {
		t.Errorf("got %d secrets in %s, want 4", n, described.GetSettingsSchema())
	}
}
