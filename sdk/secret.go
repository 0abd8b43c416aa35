package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Secret is a text of the settings that no way of printing shows: not fmt with
// any verb, not JSON, not a log. A field of this type is marked as a secret in
// the schema without a tag. Only Reveal gives the text.
type Secret struct {
	// A pointer, because fmt prints fields that are not exported as they are,
	// without asking their type.
	text *string
}

// redacted stands for a secret wherever it is written.
const redacted = "[secret]"

// NewSecret returns a secret, mostly for tests.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text; "" where none was set.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Format implements fmt.Formatter: every verb writes [secret], or nothing where
// there is none.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String returns [secret], or "" where there is none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes what String returns.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads a string.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New("a secret is not a string") // and is not to be shown
	}
	s.text = &text
	return nil
}
