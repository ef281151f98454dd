package system

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// syntax reports text that is no YAML. A parser notices far behind it that a
// bracket or a quote was never closed; the place to mend is where it was opened.
func (s *source) syntax(text string, err error) {
	found := Finding{File: s.file, Message: strings.TrimPrefix(err.Error(), "yaml: "), Hint: "indent with spaces, and quote texts that hold : or #"}
	if failed, ok := errors.AsType[*yaml.LoadError](err); ok {
		found.Line, found.Column, found.Message = failed.Mark.Line, failed.Mark.Column, failed.Message
		if strings.Contains(failed.ContextMsg, "quoted") {
			found.Line, found.Column = failed.ContextMark.Line, failed.ContextMark.Column
			found.Message, found.Hint = "the text that begins here has no closing quote", "close it with the quote that opens it"
		} else if at, bracket, ok := unclosed(text, failed.Mark.Line); ok {
			found.Message = fmt.Sprintf("%c is not closed before line %d, where this is noticed: %s", bracket, failed.Mark.Line, failed.Message)
			found.Line, found.Column = at.line, at.column
			found.Hint = "close it, or put the text in quotes when it is no list and has no keys"
		}
	}
	s.spoilt = append(s.spoilt, "")
	s.findings = append(s.findings, found)
}

// unclosed finds the outermost bracket that opens a list or keys before a line and
// is open there still.
func unclosed(text string, before int) (at position, bracket rune, ok bool) {
	type opened struct {
		position
		bracket rune
	}
	var open []opened
	number := 0
	for line := range strings.Lines(text) {
		if number++; number >= before && number > 1 {
			break
		}
		quote, last, blank := rune(0), rune(0), true // last: what stands before, blanks aside
		for column, r := range []rune(line) {
			switch {
			case quote != 0:
				if r == quote {
					quote = 0
				}
			case (r == '"' || r == '\'') && begins(last):
				quote = r
			case r == '#' && blank:
				r = '\n' // a comment is no value
			case (r == '[' || r == '{') && begins(last):
				open = append(open, opened{position{number, column + 1}, r})
			case (r == ']' || r == '}') && len(open) > 0:
				open = open[:len(open)-1]
			}
			if r == '\n' {
				break
			}
			if blank = r == ' '; !blank {
				last = r
			}
		}
	}
	if len(open) == 0 {
		return position{}, 0, false
	}
	return open[0].position, open[0].bracket, true
}

// begins says whether a value begins behind this: elsewhere a bracket is text.
func begins(last rune) bool { return last == 0 || strings.ContainsRune(":-,[{", last) }
