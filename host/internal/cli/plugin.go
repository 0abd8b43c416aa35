package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/scaffold"
	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) pluginCommand() *cobra.Command {
	return group("plugin", "Work with plugins", a.pluginListCommand(), a.pluginNewCommand(),
		a.pluginRunCommand(), a.pluginCheckCommand(), a.pluginCheckHostCommand())
}

func (a *app) pluginListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the builds of the plugins that a host has",
		Args:  cobra.NoArgs,
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			plugins, raw, err := c.Plugins(ctx)
			if err != nil {
				return err
			}
			if a.wantsAnswer() {
				return a.printRaw(raw)
			}
			var rows [][]string
			for _, p := range plugins {
				for _, b := range p.Builds {
					rows = append(rows, buildRow(p.Name, b))
				}
			}
			return a.printRows([]string{"NAME", "VERSION", "DIGEST", "SERVES", "STATE", "ISOLATION", "PROCESSES", "PID", "UPTIME", "JOBS", "RESTARTS", "ERROR"}, rows)
		}),
	}
	a.clientFlags(c)
	return c
}

func buildRow(name string, b client.Build) []string {
	serves, pid, uptime := "no", "", ""
	processes := len(b.Processes)
	if b.Serves {
		serves = "yes"
	}
	if b.PID != 0 {
		processes++
		pid = strconv.Itoa(b.PID)
		uptime = (time.Duration(b.UptimeSeconds) * time.Second).String()
	}
	return []string{
		name, b.Version, b.SHA256[:min(12, len(b.SHA256))], serves, b.State, b.Isolation, strconv.Itoa(processes),
		pid, uptime, strconv.Itoa(b.RunningJobs), strconv.Itoa(b.Restarts), b.Error,
	}
}

func (a *app) pluginNewCommand() *cobra.Command {
	var sdk string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the beginning of a plugin into ./NAME",
		Long: `Write the beginning of a plugin into ./NAME: a module that builds, passes its
tests, and runs when its binary is put into the plugin folder of a host.`,
		Args: oneArg("plugin"),
		RunE: func(_ *cobra.Command, args []string) error {
			if sdk == "" {
				sdk = checkoutSDK()
			}
			if sdk == "" {
				return usagef("this binary lies in no checkout of Heimdall; --sdk DIR says where its sdk is")
			}
			if err := scaffold.New(args[0], args[0], sdk); err != nil {
				return &codeError{code: ExitFailed, err: err}
			}
			_, err := fmt.Fprintf(a.Stdout, "%s\n", args[0])
			fmt.Fprintf(a.Stderr, "next: cd %s && go test ./... && CGO_ENABLED=0 go build -o heimdall-plugin-%s .\n", args[0], args[0])
			return err
		},
	}
	c.Flags().StringVar(&sdk, "sdk", "", "folder of the sdk (default: that of the checkout this binary lies in)")
	return c
}

// checkoutSDK returns the sdk of the checkout that this binary lies in, or "".
func checkoutSDK() string {
	binary, err := os.Executable()
	if err != nil {
		return ""
	}
	for folder := filepath.Dir(binary); folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		sdk := filepath.Join(folder, "sdk")
		if _, err := os.Stat(filepath.Join(sdk, "handshake")); err == nil {
			return sdk
		}
	}
	return ""
}
