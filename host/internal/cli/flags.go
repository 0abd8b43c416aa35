package cli

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// waitFlag is --wait, with or without a limit.
type waitFlag struct {
	set   bool
	limit time.Duration // 0: none
}

// add adds the flag to a command.
func (w *waitFlag) add(c *cobra.Command) {
	c.Flags().Var(w, "wait", "wait for the end, with =DURATION no longer than that")
	c.Flags().Lookup("wait").NoOptDefVal = "true"
}

// Set reads the flag.
func (w *waitFlag) Set(text string) error {
	w.set, w.limit = true, 0
	switch text {
	case "true":
		return nil
	case "false":
		w.set = false
		return nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("it is not positive")
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s", text)
	}
	w.limit = d
	return nil
}

// String returns the flag as it is written.
func (w *waitFlag) String() string {
	if w.limit > 0 {
		return w.limit.String()
	}
	return ""
}

// Type names what the flag takes.
func (w *waitFlag) Type() string { return "duration" }

// timeFlag is a time, or a duration from now.
type timeFlag struct {
	at       time.Time
	relative bool // it is another time each time that it is said
}

// Set reads the flag.
func (f *timeFlag) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil {
		*f = timeFlag{time.Now().Add(d).UTC().Truncate(time.Millisecond), true}
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is neither a time such as 2026-12-31T23:59:59Z nor a duration such as 10m", text)
	}
	*f = timeFlag{at: at}
	return nil
}

// String returns the flag as it is written.
func (f *timeFlag) String() string {
	if !f.at.IsZero() {
		return f.at.Format(time.RFC3339)
	}
	return ""
}

// Type names what the flag takes.
func (f *timeFlag) Type() string { return "time" }

// pageSize is --limit: how many a page of a list holds. 0 is the host's default, and
// what nobody asks for.
type pageSize int

// Set reads the number.
func (p *pageSize) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return errors.New("want a whole number, 1 or more")
	}
	*p = pageSize(n)
	return nil
}

// String returns it.
func (p *pageSize) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.Itoa(int(*p))
}

// Type returns what its value is called in a help.
func (p *pageSize) Type() string { return "number" }
