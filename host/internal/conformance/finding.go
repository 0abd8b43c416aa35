package conformance

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// finding is what a case found to be wrong.
type finding struct{ seen, expected string }

// Error says both.
func (f *finding) Error() string {
	if f.expected == "" {
		return "saw: " + f.seen
	}
	return "saw: " + f.seen + "\nexpected: " + f.expected
}

// saw begins a finding with what was seen.
func saw(format string, args ...any) *finding { return &finding{seen: fmt.Sprintf(format, args...)} }

// want completes a finding with what should have been seen.
func (f *finding) want(format string, args ...any) error {
	f.expected = fmt.Sprintf(format, args...)
	return f
}

// unexercised is why a case says nothing about a plugin.
type unexercised struct{ reason string }

// Error says why.
func (u *unexercised) Error() string { return u.reason }

// skip returns that a case says nothing about the plugin.
func skip(format string, args ...any) error { return &unexercised{fmt.Sprintf(format, args...)} }

// called turns the error of a call that should have worked into a finding.
func called(call string, err error) error {
	if err == nil {
		return nil
	}
	return saw("%s answered %s", call, told(err)).want("an answer")
}

// refused checks that a call was answered with a status.
func refused(call string, err error, wanted ...codes.Code) error {
	if err == nil {
		return saw("%s was accepted", call).want("the status %v", wanted[0])
	}
	for _, code := range wanted {
		if status.Code(err) == code {
			return nil
		}
	}
	return saw("%s answered %s", call, told(err)).want("the status %v", wanted[0])
}

// told is an error of a call in one line.
func told(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%v: %.300s", s.Code(), s.Message())
	}
	return err.Error()
}

// unimplemented reports whether a plugin does not have a call.
func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// optional turns a missing call into a case that says nothing.
func optional(call string, err error) error {
	if unimplemented(err) {
		return skip("the plugin does not have the call %s, which is allowed", call)
	}
	return called(call, err)
}

// verdict tells the two kinds of errors of a case apart.
func verdict(err error) (reason string, exercised bool) {
	if u, ok := errors.AsType[*unexercised](err); ok {
		return u.reason, false
	}
	return err.Error(), true
}
