// Command heimdall-plugin-faulty is a plugin that does what its input says,
// mostly something bad. It is for tests of the host and is never shipped.
package main

import "github.com/heimdall-run/heimdall/sdk"

func main() {
	sdk.Serve("faulty", func() *Faulty { return &Faulty{} }, sdk.Resume())
}
