package cli

import (
	"bytes"
	"io"
	"text/tabwriter"
)

// table aligns columns. A last cell that is empty leaves no blanks behind.
func (a *app) table() *tabwriter.Writer {
	return tabwriter.NewWriter(&trimmer{out: a.Stdout}, 0, 0, 2, ' ', 0)
}

// trimmer leaves out the blanks at the end of lines.
type trimmer struct {
	out    io.Writer
	blanks int // that were written and may be the end of a line
}

func (t *trimmer) Write(p []byte) (int, error) {
	var kept bytes.Buffer
	for _, c := range p {
		switch c {
		case ' ':
			t.blanks++
			continue
		case '\n':
		default:
			kept.Write(bytes.Repeat([]byte{' '}, t.blanks))
		}
		t.blanks = 0
		kept.WriteByte(c)
	}
	if _, err := t.out.Write(kept.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
