package cli

import (
	"fmt"
	"io"
	"strings"
)

// What a terminal is told (ECMA-48; the second screen is xterm's, and everybody's).
const (
	secondScreen = "\x1b[?1049h\x1b[?25l" // and no cursor
	firstScreen  = "\x1b[?25h\x1b[?1049l"
	home         = "\x1b[H"
	restOfLine   = "\x1b[K"
	restOfScreen = "\x1b[J"
)

// terminal draws frames on the second screen, so that a resize spoils nothing
// for longer than until the next one, and the first screen is as it was.
type terminal struct {
	out    io.Writer
	colour bool
	taken  bool
}

func (t *terminal) draw(lines []styled) {
	var b strings.Builder
	if !t.taken {
		t.taken = true
		b.WriteString(secondScreen)
	}
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 && !line.joined { // a full row is left by writing on
			b.WriteString(restOfLine + "\r\n")
		}
		b.WriteString(t.paint(line))
	}
	b.WriteString(restOfLine + restOfScreen)
	fmt.Fprint(t.out, b.String())
}

// leave gives the first screen and the cursor back.
func (t *terminal) leave() {
	if t.taken {
		t.taken = false
		fmt.Fprint(t.out, firstScreen)
	}
}

func (t *terminal) paint(line styled) string {
	code := map[style]string{bold: "1", faint: "2", alarm: "1;31"}[line.style]
	if code == "" || !t.colour {
		return line.text
	}
	return "\x1b[" + code + "m" + line.text + "\x1b[0m"
}
