package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/frende/lifeboat/internal/fault"
)

// JSON writes the record itself, indented, with a newline at the end.
func JSON(w io.Writer, r *Run) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fault.New(fault.PathFailed, "write report", r.ID, err)
	}
	return write(w, r, string(body)+"\n")
}

// Markdown writes the report for a wiki, a ticket or the Web UI. now stands for
// the end of a run that goes on.
func Markdown(w io.Writer, r *Run, now time.Time) error {
	d := r.compose(now)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", escape(d.title))
	if len(d.lead) > 0 {
		b.WriteString(escape(strings.Join(d.lead, " ")) + "\n\n")
	}
	for _, fact := range d.facts {
		fmt.Fprintf(&b, "- **%s**: %s\n", fact[0], escape(fact[1]))
	}
	for _, s := range d.sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.note != "" {
			b.WriteString(escape(s.note) + "\n\n")
		}
		if s.columns == nil {
			for _, row := range s.rows {
				for i, line := range row {
					fmt.Fprintf(&b, "%s- %s\n", strings.Repeat("  ", i), escape(line))
				}
			}
			continue
		}
		b.WriteString("| " + strings.Join(s.names(), " | ") + " |\n|")
		for _, c := range s.columns {
			if c.right {
				b.WriteString(" ---: |")
			} else {
				b.WriteString(" --- |")
			}
		}
		b.WriteByte('\n')
		for _, row := range s.rows {
			for _, cell := range row {
				b.WriteString("| " + escape(cell) + " ")
			}
			b.WriteString("|\n")
		}
	}
	return write(w, r, b.String())
}

// Text writes the report for a terminal.
func Text(w io.Writer, r *Run, now time.Time) error {
	d := r.compose(now)
	var b strings.Builder
	b.WriteString(flat(d.title) + "\n")
	for _, sentence := range d.lead {
		b.WriteString(flat(sentence) + "\n")
	}
	b.WriteString("\n")
	facts := make([][]string, 0, len(d.facts))
	for _, fact := range d.facts {
		facts = append(facts, []string{fact[0], fact[1]})
	}
	table(&b, facts, make([]column, 2))
	for _, s := range d.sections {
		b.WriteString("\n" + s.title + "\n")
		if s.note != "" {
			b.WriteString("  " + s.note + "\n")
		}
		if s.columns == nil {
			for _, row := range s.rows {
				for i, line := range row {
					b.WriteString("  " + strings.Repeat("  ", i) + flat(line) + "\n")
				}
			}
			continue
		}
		table(&b, append([][]string{s.names()}, s.rows...), s.columns)
	}
	return write(w, r, b.String())
}

// widestCell is how wide a key or a sentence may be and still stand in its row, in
// characters; widestLine is where a sentence is folded.
const (
	widestCell = 40
	widestLine = 96
)

// table writes rows with aligned columns, indented by two. The last column is
// not padded. A column of wide keys or of sentences stands beneath its rows.
func table(b *strings.Builder, rows [][]string, columns []column) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(flat(cell)))
		}
	}
	beneath := func(i int) bool { return (columns[i].code || columns[i].long) && widths[i] > widestCell }
	for n, row := range rows {
		var line, below strings.Builder
		for i, cell := range row {
			cell = flat(cell)
			if beneath(i) {
				if n > 0 { // the names are those of the rows
					below.WriteString(folded(cell))
				}
				continue
			}
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].right {
				line.WriteString("  " + padding + cell)
			} else {
				line.WriteString("  " + cell + padding)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n" + below.String())
	}
}

// folded writes a text beneath a row, broken between its words; a key is never broken.
func folded(text string) string {
	var b strings.Builder
	width := 0
	for word := range strings.FieldsSeq(text) {
		long := utf8.RuneCountInString(word)
		switch {
		case width == 0:
			b.WriteString("      ")
		case width+1+long > widestLine:
			b.WriteString("\n      ")
			width = 0
		default:
			b.WriteString(" ")
		}
		b.WriteString(word)
		width = max(width+1, 6) + long
	}
	return b.String() + "\n"
}

func (s *section) names() []string {
	names := make([]string, 0, len(s.columns))
	for _, c := range s.columns {
		names = append(names, c.name)
	}
	return names
}

// flat keeps a cell on its line, and what controls a terminal or the direction
// of writing out of it.
func flat(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}

// escape keeps a text from being read as Markdown or HTML.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;").Replace(flat(text))
}

func write(w io.Writer, r *Run, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fault.New(fault.PathFailed, "write report", r.ID, err)
	}
	return nil
}
