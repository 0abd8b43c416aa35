package job

import "fmt"

// LostWith is the error of an attempt whose host was lost, and whose job goes on
// elsewhere.
func LostWith(host string) *Error {
	return &Error{Class: Lost, Message: fmt.Sprintf("host %s was lost while it had the job", host)}
}

// LostForGood is the error of a job that has waited in vain for its host.
func LostForGood(host string) *Error {
	return &Error{Class: Lost, Message: fmt.Sprintf("host lost, outcome unknown: %s had the job and did not come back", host)}
}

// CanceledWhileLost is the error of a job that somebody has asked to cancel, and
// whose host was lost.
func CanceledWhileLost(by, host string) *Error {
	return &Error{Class: WasCanceled, Message: fmt.Sprintf("canceled by %s; host lost, outcome unknown: %s had the job", by, host)}
}

// RemainsOfLost says why an attempt may have left something outside whose host was
// lost.
func RemainsOfLost(host string) string {
	return fmt.Sprintf("host %s was lost while it had the job", host)
}
