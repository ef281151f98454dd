package system

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing that is wrong with a configuration, and where.
type Finding struct {
	File    string `json:"file,omitempty"`   // empty: not from a file
	Line    int    `json:"line,omitempty"`   // from 1; 0: unknown
	Column  int    `json:"column,omitempty"` // from 1
	Path    string `json:"path,omitempty"`   // "databases[0].service"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// top is the first key of the path: "databases".
func (f Finding) top() string {
	top, _, _ := strings.Cut(f.Path, ".")
	top, _, _ = strings.Cut(top, "[")
	return top
}

// String gives "lifeboat.yaml:12:5: databases[0].service: message", in one line and without the hint.
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path)
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Findings are all that is wrong, in the order of the file. They are the cause of a fault.ConfigInvalid.
type Findings []Finding

// Error gives the first finding in one line and counts the others; print the elements to show all.
func (f Findings) Error() string {
	switch len(f) {
	case 0:
		return "no findings"
	case 1:
		return f[0].String()
	default:
		return fmt.Sprintf("%s (and %d more)", f[0], len(f)-1)
	}
}

func (f Findings) sorted() Findings {
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(sorted)
}

// Nearest gives the candidate that a typing error turned into word, or "".
func Nearest(word string, candidates []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, candidate := range candidates {
		if d := edits(strings.ToLower(word), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func didYouMean(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return "known are: " + strings.Join(candidates, ", ")
}
