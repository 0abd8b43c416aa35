package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/config"
)

// ServerFlags are the flags of the server command. What is empty is as the
// configuration has it.
type ServerFlags struct {
	Config    string // path of the configuration; "": defaults and environment only
	Listen    string
	Store     string
	DataDir   string
	PluginDir string
}

func (a *app) serverCommand() *cobra.Command {
	var flags ServerFlags
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the host",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.Server(cmd.Context(), flags); err != nil {
				return &codeError{code: ExitFailed, err: err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&flags.Config, "config", "", "configuration file (TOML)")
	f.StringVar(&flags.Listen, "listen", "", "address to listen on, host:port")
	f.StringVar(&flags.Store, "store", "", "sqlite, or postgres://user:password@host:5432/database")
	f.StringVar(&flags.DataDir, "data-dir", "", "folder for database, job folders and artifacts")
	f.StringVar(&flags.PluginDir, "plugin-dir", "", "folder with the plugins")
	return c
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Stdout, "heimdall "+a.Version)
			return err
		},
	}
}

func (a *app) configCommand() *cobra.Command {
	return group("config", "Work with configuration files", &cobra.Command{
		Use:   "check FILE",
		Short: "Tell everything that is wrong with a configuration file",
		Args:  oneArg("file"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := config.Load(args[0], a.Env)
			if err == nil {
				_, err = c.Catalog()
			}
			if err == nil {
				_, err = fmt.Fprintln(a.Stdout, "ok")
				return err
			}
			return &codeError{code: ExitFailed, err: err}
		},
	})
}
