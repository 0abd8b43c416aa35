package child_test

import (
	"os/exec"
	"testing"

	"github.com/heimdall-run/heimdall/sdk/internal/child"
)

// What the supervisor costs: a program through it against the same one without.
func BenchmarkRun(b *testing.B) {
	b.Run("child", func(b *testing.B) {
		for b.Loop() {
			if err := child.New("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("exec", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
