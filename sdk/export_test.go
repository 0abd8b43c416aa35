package sdk

import "time"

// IdleExit sets after how long without a host a process that holds nothing ends.
func IdleExit(after time.Duration) Option {
	return func(o *options) error {
		o.idleExit = after
		return nil
	}
}
