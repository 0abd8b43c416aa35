package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/heimdall-run/heimdall/sdk/client"
)

// page is a part of a list.
type page struct {
	rows [][]string
	more bool
	next string // the cursor of the next one

	raw json.RawMessage
}

// printPages prints a page of a list, or all that follow it too.
func (a *app) printPages(head []string, all bool, read func(cursor string) (*page, error)) error {
	rows := a.newRows(head)
	cursor := ""
	for {
		p, err := read(cursor)
		if err != nil {
			return errors.Join(rows.stop(), err)
		}
		if a.wantsAnswer() {
			err = a.printRaw(p.raw)
		}
		for i := 0; err == nil && !a.wantsAnswer() && i < len(p.rows); i++ {
			err = rows.add(p.rows[i])
		}
		if err != nil {
			return err
		}
		if cursor = p.next; all && p.more && cursor != "" {
			continue
		}
		if err := rows.close(); err != nil {
			return err
		}
		if p.more && !a.wantsAnswer() {
			fmt.Fprintln(a.Stderr, "there are more: --all, or --cursor "+cursor)
		}
		return nil
	}
}

// words are fixed words of a list.
func words(fixed ...string) finder {
	return func(context.Context, *client.Client, string) []string { return fixed }
}
