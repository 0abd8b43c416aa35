package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// oneArg returns the check of a command that takes one argument, which names a
// thing of a kind such as "job".
func oneArg(kind string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usagef("name the %s: %s %s", kind, cmd.Parent().CommandPath(), cmd.Use)
		case 1:
			return nil
		}
		return usagef("%s takes one argument%s", nameOf(cmd), waitHint(cmd, args))
	}
}

// noArgs is the check of a command that takes flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no arguments%s", nameOf(cmd), waitHint(cmd, args))
}

// nameOf returns the name of a command as people say it.
func nameOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// waitHint helps whoever wrote --wait 30s: the value of a flag that may stand
// alone must be joined to it.
func waitHint(cmd *cobra.Command, args []string) string {
	if !cmd.Flags().Changed("wait") {
		return ""
	}
	for _, arg := range args {
		if _, err := time.ParseDuration(arg); err == nil {
			return "; write --wait=" + arg
		}
	}
	return ""
}

// alone is the check of a flag that no other flag of the command goes with, save
// those of every client command.
func alone(cmd *cobra.Command, name string) error {
	var err error
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != name {
			err = usagef("--%s and --%s exclude each other", name, f.Name)
		}
	})
	return err
}
