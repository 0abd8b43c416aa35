package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/importer"
)

func (a *app) importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Make a configuration from the YAML of an existing Heimdall",
		Long: `Make a configuration from the YAML of an existing Heimdall, and print it on
stdout. What could not be carried over, and what is to be seen to, is said on
stderr, a line for each. FILE may be - for stdin.

The exit code is 0 if the configuration can be used as it is, 1 if it has faults,
which are said too.`,
		Example: `  heimdall import heimdall.yaml > heimdall.toml`,
		Args:    oneArg("file"),
		RunE: func(_ *cobra.Command, args []string) error {
			failed := func(err error) error { return &codeError{code: ExitFailed, err: err} }
			name := args[0]
			var text []byte
			var err error
			if name == "-" {
				name = "stdin"
				text, err = io.ReadAll(a.Stdin)
			} else {
				text, err = os.ReadFile(name)
			}
			if err != nil {
				return failed(err)
			}
			toml, notes, err := importer.Convert(text)
			if err != nil {
				return failed(fmt.Errorf("%s: %w", name, err))
			}
			if _, err := io.WriteString(a.Stdout, toml); err != nil {
				return failed(err)
			}
			for _, n := range notes {
				fmt.Fprintln(a.Stderr, clean(n.In(name)))
			}
			if err := checkConfig(toml); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

// checkConfig judges a configuration that is not in a file yet.
func checkConfig(text string) error {
	folder, err := os.MkdirTemp("", "heimdall")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "stdout")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	c, err := config.Load(file, nil)
	if err == nil {
		_, err = c.Catalog()
	}
	if err != nil {
		return errors.New("what was made has faults: " + err.Error())
	}
	return nil
}
