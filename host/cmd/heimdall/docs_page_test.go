package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Links lead somewhere.
func TestPagesLink(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(readPage(t, page), ""), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(checkout + target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", page, m[1], target)
			}
		}
	}
}

// anchors returns the names that headings can be linked by.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(readPage(t, page), ""), -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return names
}

// pages returns the pages of the documentation.
func pages(t *testing.T) []string {
	t.Helper()
	list := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	docs, err := filepath.Glob(checkout + "docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("got no pages in docs (%v)", err)
	}
	for _, page := range docs {
		list = append(list, "docs/"+filepath.Base(page))
	}
	return list
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(checkout + page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is a fenced block of a page.
type block struct {
	line int
	text string
	note string // of the comment right behind it
}

// blocksOf returns the blocks of a language.
func blocksOf(t *testing.T, page, language string) []block {
	t.Helper()
	var blocks []block
	lines := strings.Split(readPage(t, page), "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "```") {
			continue
		}
		kind, begin := strings.TrimPrefix(lines[i], "```"), i+1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		if i+1 >= len(lines) {
			t.Fatalf("%s:%d: the block does not end", page, begin)
		}
		note, _ := strings.CutPrefix(lines[i+1], "<!-- ")
		if kind == language {
			blocks = append(blocks, block{begin, strings.Join(lines[begin:i], "\n") + "\n", strings.TrimSuffix(note, " -->")})
		}
	}
	return blocks
}
