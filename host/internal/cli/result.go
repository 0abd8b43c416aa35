package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// Formats that a host makes of a table, and that only results have.
const (
	formatCSV    = "csv"
	formatNDJSON = "ndjson"
)

// resultFormats are those of results.
var resultFormats = append([]string{formatCSV, formatNDJSON}, formats...)

// extensions are what names of files say of their format.
var extensions = map[string]string{
	".csv": formatCSV, ".tsv": formatTSV, ".json": formatJSON, ".ndjson": formatNDJSON, ".jsonl": formatNDJSON, ".yaml": formatYAML, ".yml": formatYAML,
}

// resultFlags are the flags of job result.
type resultFlags struct {
	wait   waitFlag
	out    string
	offset int64
	limit  int64
	given  func(flag string) bool
}

func (a *app) resultCommand() *cobra.Command {
	f := &resultFlags{}
	c := &cobra.Command{
		Use:               "result ID",
		ValidArgsFunction: a.completes(jobIDs),
		Short:             "Print the result of a job",
		Long: `Print the result of a job: a table in the format of -o, a text and a document as
they are.

With --out, write it to a file, whose extension names the format where -o does not;
the file is there when it is whole.

With --wait, wait for its end first; the exit code tells how it ended, as that
of job submit does.`,
		Example: `  heimdall job result 018f… -o csv --limit 100
  heimdall job result 018f… --out cities.csv`,
		Args: oneArg("job"),
		PreRunE: func(*cobra.Command, []string) error {
			a.formats = resultFormats
			if f.out == "" || a.flags.output != "" {
				return nil
			}
			if a.flags.output = extensions[strings.ToLower(filepath.Ext(f.out))]; a.flags.output == "" {
				a.flags.output = formatJSON // a document is as it is anyway
			}
			return nil
		},
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			if f.given("limit") && f.limit < 0 || f.offset < 0 {
				return usagef("--limit and --offset count rows; they cannot be negative")
			}
			if !f.wait.set {
				return a.printResultOf(ctx, c, args[0], f)
			}
			j, err := a.await(ctx, c, args[0], f.wait.limit)
			if err != nil {
				return err
			}
			return a.finish(ctx, c, j, f)
		}),
	}
	flags := c.Flags()
	flags.StringVarP(&a.flags.output, "output", "o", "", "table, csv, tsv, json, ndjson or yaml (default table on a terminal, else tsv)")
	flags.StringVar(&f.out, "out", "", "file to write it to")
	flags.Int64Var(&f.offset, "offset", 0, "rows of a table to leave out")
	flags.Int64Var(&f.limit, "limit", 0, "rows of a table at most")
	f.given = flags.Changed
	complete(c, "output", resultFormats...)
	complete(c, "offset")
	complete(c, "limit")
	f.wait.add(c)
	return c
}

// finish prints the result of a job that has ended and returns how the program
// ends after it. That there is no result is an error only if the job succeeded.
func (a *app) finish(ctx context.Context, c *client.Client, j *client.Job, f *resultFlags) error {
	err := a.printResultOf(ctx, c, j.ID, f)
	if err == nil || client.IsNotFound(err) && j.Status != client.StatusSucceeded {
		return endOf(j)
	}
	return err
}

// printResultOf prints the result of a job that has ended; f is nil where there are no
// flags for it.
func (a *app) printResultOf(ctx context.Context, c *client.Client, id string, f *resultFlags) error {
	var o client.ResultOptions
	if f != nil {
		o.Offset = f.offset
		if f.given("limit") {
			o.Limit = &f.limit
		}
	}
	asked := a.output == formatCSV || a.output == formatNDJSON || a.output == formatTSV && f != nil && f.out != ""
	if asked {
		o.Format = a.output
	}
	r, err := c.ResultAs(ctx, id, o)
	if err != nil {
		return err
	}
	defer r.Close()
	show := func() error { return a.printResult(r) }
	if asked {
		show = func() error {
			_, err := io.Copy(a.Stdout, r)
			return err
		}
	}
	if f == nil || f.out == "" {
		return show()
	}
	return a.toFile(f.out, show)
}

// toFile writes what is printed to a file, which is there when it is whole.
func (a *app) toFile(path string, show func() error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // such as /dev/stdout
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return usagef("--out: %w", err)
		}
		return errors.Join(a.printTo(file, show), file.Close())
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part"+strconv.Itoa(os.Getpid()))
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return usagef("--out: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	err = errors.Join(a.printTo(file, show), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(part, path)
}

func (a *app) printTo(file *os.File, show func() error) error {
	w := bufio.NewWriterSize(file, 64<<10)
	stdout := a.Stdout
	a.Stdout = w
	defer func() { a.Stdout = stdout }()
	return errors.Join(show(), w.Flush())
}

// knows reports whether there is a format.
func (a *app) knows(format string) bool { return slices.Contains(a.formats, format) }
