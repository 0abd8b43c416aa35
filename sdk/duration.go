package sdk

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time.Duration that is written as a Go string such as "30s" in
// settings and input.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as a Go duration string.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes d as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string such as "1m30s".
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf(`%s is not a duration: write a string such as "30s"`, data)
	}

	value, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf(`%q is not a duration: write a string such as "30s"`, text)
	}

	*d = Duration(value)
	return nil
}
