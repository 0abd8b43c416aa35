package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// settings are what every client command has to know. Each is taken from its
// flag, else from a profile that a flag names, else from its variable, else from
// the profile that is used when none is named.
type settings struct {
	server  string
	user    string
	output  string
	formats []string // that output may be; nil: formats
	profile string
}

// defaultServer is the address of a host on the same machine.
const defaultServer = "http://127.0.0.1:9090"

// clientFlags adds the flags that every client command has.
func (a *app) clientFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.flags.server, "server", "", "address of the host (env HEIMDALL_SERVER; default "+defaultServer+")")
	f.StringVar(&a.flags.user, "user", "", "user to act as (env HEIMDALL_USER)")
	f.StringVarP(&a.flags.output, "output", "o", "", "table, tsv, json or yaml (default table on a terminal, else tsv)")
	f.StringVar(&a.flags.profile, "profile", "", "profile of the configuration to use (env HEIMDALL_PROFILE)")
	complete(c, "output", formats...)
	_ = c.RegisterFlagCompletionFunc("profile", a.completeProfiles)
	_ = c.RegisterFlagCompletionFunc("server", cobra.NoFileCompletions)
	_ = c.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
}

// settle finds out what the settings are.
func (a *app) settle() error {
	profiles, err := a.readProfiles()
	if err != nil {
		return err
	}
	flags := a.flags
	name := cmp.Or(flags.profile, a.env("HEIMDALL_PROFILE", profiles.Default))
	profile, ok := profiles.Profile[name]
	if name != "" && !ok {
		return usagef("there is no profile %q in %s; there %s", name, profiles.file, listed("is", slices.Sorted(maps.Keys(profiles.Profile))))
	}
	named, unnamed := profile, profile
	if flags.profile == "" {
		named = profileTable{}
	}
	a.server = cmp.Or(flags.server, named.Server, a.env("HEIMDALL_SERVER", ""), unnamed.Server, defaultServer)
	a.user = cmp.Or(flags.user, named.User, a.env("HEIMDALL_USER", ""), unnamed.User)
	a.output = cmp.Or(flags.output, named.Output, a.env("HEIMDALL_OUTPUT", ""), unnamed.Output)
	if a.output == "" {
		a.output = formatTSV
		if isTerminal(a.Stdout) {
			a.output = formatTable
		}
	}
	if a.formats == nil {
		a.formats = formats
	}
	if !a.knows(a.output) {
		return usagef("-o %s: it is one of %s", a.output, strings.Join(a.formats, ", "))
	}
	return nil
}

// client returns the client that the settings name.
func (a *app) client() (*client.Client, error) {
	if err := a.settle(); err != nil {
		return nil, err
	}
	c, err := client.New(a.server, a.user)
	if err != nil {
		return nil, usagef("%w", err)
	}
	c.UserAgent = "heimdall/" + a.Version
	return c, nil
}

// profiles is the configuration of the command line.
type profiles struct {
	// Default names the profile that is used when none is named.
	Default string                  `toml:"default"`
	Profile map[string]profileTable `toml:"profile"`

	file string
}

// profileTable is one set of settings.
type profileTable struct {
	Server string `toml:"server"`
	User   string `toml:"user"`
	Output string `toml:"output"`
}

// readProfiles reads the configuration of the command line, if there is one.
func (a *app) readProfiles() (profiles, error) {
	var p profiles
	folder := a.env("XDG_CONFIG_HOME", "")
	if folder == "" {
		if home := a.env("HOME", ""); home != "" {
			folder = filepath.Join(home, ".config")
		}
	}
	p.file = filepath.Join(folder, "heimdall", "cli.toml")
	if folder == "" {
		return p, nil
	}
	text, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, usagef("read the profiles: %w", err)
	}
	meta, err := toml.Decode(string(text), &p)
	if err != nil {
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			err = fmt.Errorf("line %d: %s", e.Position.Line, e.Message)
		}
		return p, usagef("%s: %w", p.file, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return p, usagef("%s: unknown key %s; a profile is a table [profile.NAME] with server, user and output, and default names one", p.file, unknown[0])
	}
	return p, nil
}

// listed says which ones there are.
func listed(verb string, names []string) string {
	if len(names) == 0 {
		return verb + " none"
	}
	return verb + " " + strings.Join(names, ", ")
}
