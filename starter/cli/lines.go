package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/frende/lifeboat/internal/system"
)

// brief writes a duration as a person says it: "0.4s", "41.2s", "3m12s".
func brief(d time.Duration) string { return system.Duration(d).Brief() }

func clip(line string, width int) string {
	if width < 2 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// indent is where the text of a step begins.
const indent = 26

// fold breaks a line that stays, between words, where the terminal ends, and
// indents what follows. What has no blank, such as a key, stays whole, so that it
// can be copied.
func fold(line string, width, indent int) string {
	var b strings.Builder
	margin := 0 // the leading blanks of a line are no place to break it
	rest := []rune(line)
	for width > 2*indent && width > 0 && len(rest) > width {
		end := width
		for end > margin+indent && rest[end] != ' ' {
			end--
		}
		if end <= margin+indent {
			for end = width; end < len(rest) && rest[end] != ' '; end++ {
				continue
			}
		}
		if end == len(rest) {
			break
		}
		b.WriteString(strings.TrimRight(string(rest[:end]), " ") + "\n")
		rest = []rune(strings.Repeat(" ", indent) + strings.TrimLeft(string(rest[end:]), " "))
		margin = indent
	}
	return b.String() + string(rest)
}

// asked tells what a person is asked. Each command, which stands between
// backquotes, has lines of its own, so that it can be copied.
func asked(waiting string, width int) string {
	var b strings.Builder
	for i, part := range strings.Split(waiting, "`") {
		if i%2 == 1 {
			b.WriteString(continued(part, width))
		} else if part = strings.Trim(part, " ,.;"); part != "" {
			fmt.Fprintln(&b, fold(part, width, 0))
		}
	}
	return b.String()
}

// continued writes a command, which goes on in another line before a flag, as a
// shell takes it, where the terminal ends.
func continued(command string, width int) string {
	const margin = "  "
	var b strings.Builder
	line := margin
	for i, part := range strings.Split(command, " --") {
		if i > 0 {
			part = "--" + part
		}
		switch room := width - utf8.RuneCountInString(line) - len(` \`); {
		case line == margin:
			line += part
		case width > 0 && utf8.RuneCountInString(part)+1 > room:
			b.WriteString(line + " \\\n")
			line = margin + margin + part
		default:
			line += " " + part
		}
	}
	return b.String() + line + "\n"
}

// say writes a line that stays, broken between words where the terminal ends.
func (a *app) say(line string) {
	width, _ := a.Screen()
	fmt.Fprintln(a.Stdout, fold(line, width-1, 2))
}
