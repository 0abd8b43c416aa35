package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/sdk/client"
)

func (a *app) applyCommand(s side) *cobra.Command {
	var files []string
	var revision int64
	c := &cobra.Command{
		Use:   "apply FILE…",
		Short: "Make " + s.many() + " what files say",
		Long: `Make ` + s.many() + ` what files say, on every host, and print the id and the
revision of each. A file holds one object or a list of them, as JSON, or by its
name as YAML or TOML; of a TOML file such as the configuration of a host, the
tables [[` + s.many() + `]]. - is stdin, JSON.

An object is replaced whole: what a file does not say is as if it had never been.`,
		Example: `  heimdall ` + string(s.kind) + ` apply ` + s.many() + `.toml
  heimdall ` + string(s.kind) + ` get ID -o json > it.json && edit it.json && heimdall ` + string(s.kind) + ` apply it.json`,
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			files = append(files, args...)
			if len(files) == 0 {
				return usagef("name a file: heimdall %s apply FILE", s.kind)
			}
			var wanted []definition
			for _, file := range files {
				some, err := a.readDefinitions(s, file)
				if err != nil {
					return usagef("%s: %w", file, err)
				}
				wanted = append(wanted, some...)
			}
			if revision > 0 && len(wanted) != 1 {
				return usagef("--revision is for one object, and there are %d", len(wanted))
			}
			return a.apply(ctx, s.of(c), wanted, revision)
		}),
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "the same as an argument (repeatable)")
	c.Flags().Int64Var(&revision, "revision", 0, "only if the object still has this revision")
	complete(c, "revision")
	return c
}

// apply puts objects one after the other.
func (a *app) apply(ctx context.Context, to client.Catalog, wanted []definition, revision int64) error {
	rows := a.newRows([]string{"ID", "REVISION", "STATUS"})
	for _, d := range wanted {
		o, err := to.Put(ctx, d.id, d.text, revision)
		if err != nil {
			return errors.Join(rows.stop(), about(to.Kind, d.id, err))
		}
		if a.wantsAnswer() {
			if err := a.printRaw(o.Raw); err != nil {
				return err
			}
			continue
		}
		if err := rows.add([]string{o.ID, numberText(o.Revision), o.Status}); err != nil {
			return err
		}
	}
	return rows.stop() // an answer that is printed as it is has no rows
}

// about names the object that an error is about, if that does not.
func about(kind client.Kind, id string, err error) error {
	if e, ok := errors.AsType[*client.Error](err); ok && e.ID == "" {
		return fmt.Errorf("%s %s: %w", kind, id, err)
	}
	return err
}

// definition is what an object is to be.
type definition struct {
	id   string
	text json.RawMessage
}

// readDefinitions reads the objects that a file holds.
func (a *app) readDefinitions(s side, file string) ([]definition, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(a.Stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	if text, err = toJSON(file, bytes.TrimSpace(text)); err != nil {
		return nil, err
	}
	var objects []json.RawMessage
	if json.Unmarshal(text, &objects) != nil {
		var whole map[string]json.RawMessage
		if json.Unmarshal(text, &whole) != nil {
			return nil, errors.New("it holds neither an object nor a list of objects")
		}
		objects = []json.RawMessage{text}
		for _, key := range []string{s.many(), "data"} { // a configuration, or a list of the API
			if list, ok := whole[key]; ok {
				if err := json.Unmarshal(list, &objects); err != nil {
					return nil, fmt.Errorf("%s is not a list of objects", key)
				}
			}
		}
	}
	definitions := make([]definition, len(objects))
	for i, object := range objects {
		var named struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		if err := json.Unmarshal(object, &named); err != nil {
			return nil, fmt.Errorf("%s %d is not an object with an id or a name, which are texts", s.kind, i+1)
		}
		if named.ID == "" {
			named.ID = named.Name
		}
		if named.ID == "" {
			return nil, fmt.Errorf("%s %d has neither an id nor a name", s.kind, i+1)
		}
		definitions[i] = definition{named.ID, object}
	}
	if len(definitions) == 0 {
		return nil, fmt.Errorf("it holds no %s", s.kind)
	}
	return definitions, nil
}
