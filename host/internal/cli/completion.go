package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/heimdall-run/heimdall/host/internal/job"
	"github.com/heimdall-run/heimdall/sdk/client"
)

// Bounds of what a shell that completes a word is told. Nobody waits for longer,
// and nobody reads more.
const (
	completeWithin = 2 * time.Second
	mostNames      = 100
)

// complete makes a flag one of fixed words.
func complete(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// finder returns words that begin with a text, from the server. What goes wrong
// there is not told: whoever completes a word wants to type on.
type finder func(ctx context.Context, c *client.Client, begin string) []string

// completes makes words of the server an argument's completion: of the first one
// only.
func (a *app) completes(find finder) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.find(cmd, begin, find), cobra.ShellCompDirectiveNoFileComp
	}
}

// completesList makes words of the server the completion of a flag that takes a
// list with commas.
func (a *app) completesList(c *cobra.Command, flag string, find finder) {
	_ = c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		before := begin[:strings.LastIndex(begin, ",")+1]
		words := a.find(cmd, begin[len(before):], find)
		for i, word := range words {
			words[i] = before + word
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

func (a *app) find(cmd *cobra.Command, begin string, find finder) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	var words []string
	for _, word := range find(ctx, c, begin) {
		if strings.HasPrefix(word, begin) {
			words = append(words, word)
		}
	}
	return words
}

// pattern returns the pattern of texts that begin with one.
func pattern(begin string) string {
	if begin == "" {
		return ""
	}
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(begin) + "%"
}

// jobIDs are the ids of jobs, the newest first, each with what it is.
func jobIDs(ctx context.Context, c *client.Client, begin string) []string {
	page, err := c.Jobs(ctx, client.Filter{ID: pattern(begin), Limit: mostNames})
	if err != nil {
		return nil
	}
	ids := make([]string, len(page.Jobs))
	for i, j := range page.Jobs {
		ids[i] = j.ID + "\t" + clean(strings.TrimSpace(string(j.Status)+" "+j.Name))
	}
	return ids
}

// objectIDs are the ids of commands or clusters.
func objectIDs(kind func(*client.Client) client.Catalog) finder {
	return func(ctx context.Context, c *client.Client, begin string) []string {
		page, err := kind(c).List(ctx, client.ObjectFilter{ID: pattern(begin), Limit: mostNames})
		if err != nil {
			return nil
		}
		ids := make([]string, len(page.Objects))
		for i, o := range page.Objects {
			ids[i] = o.ID
			if o.Description != "" {
				ids[i] += "\t" + clean(o.Description)
			}
		}
		return ids
	}
}

// objectTags are the tags that commands or clusters have.
func objectTags(kind func(*client.Client) client.Catalog) finder {
	return func(ctx context.Context, c *client.Client, _ string) []string {
		page, err := kind(c).List(ctx, client.ObjectFilter{Limit: mostNames})
		if err != nil {
			return nil
		}
		tags := make(map[string]bool)
		for _, o := range page.Objects {
			for _, t := range o.Tags {
				tags[t] = true
			}
		}
		return slices.Sorted(maps.Keys(tags))
	}
}

// pluginNames are the names of the plugins.
func pluginNames(ctx context.Context, c *client.Client, _ string) []string {
	plugins, _, err := c.Plugins(ctx)
	if err != nil {
		return nil
	}
	names := make([]string, len(plugins))
	for i, p := range plugins {
		names[i] = p.Name
	}
	return names
}

// jobStatuses are the states of a job.
func jobStatuses(context.Context, *client.Client, string) []string {
	var names []string
	for _, s := range job.Statuses() {
		names = append(names, string(s))
	}
	return names
}

// completeProfiles are the names of the profiles.
func (a *app) completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	p, err := a.readProfiles()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(p.Profile)), cobra.ShellCompDirectiveNoFileComp
}
