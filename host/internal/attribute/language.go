package attribute

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// allowed are the functions that templates may use: those of functions, and of
// text/template those whose results are no larger than their arguments.
var allowed = []string{
	"print", "printf", "urlquery", "index", "join",
	"and", "or", "not", "len", "eq", "ne", "lt", "le", "gt", "ge",
}

// functions are those that stand in the place of what text/template has, or beside
// it.
func functions() template.FuncMap {
	return template.FuncMap{"print": together, "printf": formatted, "urlquery": escaped, "index": at, "join": joined}
}

// check refuses what could take long: whatever runs a part of a template more than
// once. So the work of a template is bounded by its length.
func check(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, of := range n.Nodes {
			if err := check(of); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return check(n.Pipe)
	case *parse.IfNode:
		return checkBranch(&n.BranchNode)
	case *parse.WithNode:
		return checkBranch(&n.BranchNode)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, command := range n.Cmds {
			for _, of := range command.Args {
				if err := check(of); err != nil {
					return err
				}
			}
		}
	case *parse.ChainNode:
		return check(n.Node)
	case *parse.IdentifierNode:
		if !slices.Contains(allowed, n.Ident) {
			return fmt.Errorf("it may not use %s; there are %s", n.Ident, strings.Join(allowed, ", "))
		}
	case *parse.TextNode, *parse.CommentNode, *parse.FieldNode, *parse.VariableNode, *parse.DotNode,
		*parse.NilNode, *parse.BoolNode, *parse.NumberNode, *parse.StringNode:
	default:
		return fmt.Errorf("it may not use %s; there are {{if}} and {{with}}", strings.TrimSpace(node.String()))
	}
	return nil
}

func checkBranch(n *parse.BranchNode) error {
	for _, of := range []parse.Node{n.Pipe, n.List, n.ElseList} {
		if err := check(of); err != nil {
			return err
		}
	}
	return nil
}

// together returns values one behind the other.
func together(values ...any) (string, error) {
	var b bounded
	for _, v := range values {
		text, err := scalar(v)
		if err != nil {
			return "", err
		}
		if _, err := b.Write([]byte(text)); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// scalar returns the text of a value that is no collection.
func scalar(value any) (string, error) {
	switch value.(type) {
	case map[string]any, []any, nil:
		return "", fmt.Errorf("a list, an object or nothing stands where a text should")
	}
	return fmt.Sprint(value), nil
}

// oddVerb finds what makes more of an argument than the argument.
var oddVerb = regexp.MustCompile(`%[^sdvqt%]|%$`)

func formatted(format string, values ...any) (string, error) {
	if verb := oddVerb.FindString(strings.ReplaceAll(format, "%%", "")); verb != "" {
		return "", fmt.Errorf("printf knows %%s, %%d, %%v, %%q, %%t and %%%%, and not %s", verb)
	}
	if _, err := together(values...); err != nil {
		return "", err
	}
	return together(fmt.Sprintf(format, values...))
}

// escaped returns values as a part of the query of an address.
func escaped(values ...any) (string, error) {
	text, err := together(values...)
	if err != nil {
		return "", err
	}
	return together(url.QueryEscape(text))
}

// at returns what a list or an object has at a place, and at a place in that.
func at(value any, places ...any) (any, error) {
	for _, place := range places {
		switch of := value.(type) {
		case map[string]any:
			inner, ok := of[fmt.Sprint(place)]
			if !ok {
				return nil, ErrMissing
			}
			value = inner
		case []any:
			i, ok := place.(int)
			if !ok || i < 0 || i >= len(of) {
				return nil, ErrMissing
			}
			value = of[i]
		default:
			return nil, fmt.Errorf("there is nothing in a %T", value)
		}
	}
	return value, nil
}

// joined returns the elements of a list with a text between them.
func joined(list []any, between string) (string, error) {
	parts := make([]any, 0, 2*len(list))
	for i, of := range list {
		if i > 0 {
			parts = append(parts, between)
		}
		parts = append(parts, of)
	}
	return together(parts...)
}
