package files

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// Selection says which entries below a root belong to a file set.
//
// A pattern without a slash is compared with the last name ("*.jpg"), one with
// a slash with the path from the root ("cache/**"). A directory that a pattern
// names stands for everything in it. Exclusion goes before inclusion; without
// any pattern to include, everything is.
type Selection struct {
	include, exclude []string
}

// Select compiles the patterns of a set. A malformed one is ConfigInvalid.
func Select(set system.FileSet) (Selection, error) {
	for _, pattern := range append(append([]string{}, set.Include...), set.Exclude...) {
		if pattern == "" || !doublestar.ValidatePattern(pattern) {
			return Selection{}, fault.Newf(fault.ConfigInvalid, "select files of", set.Name, "%q is not a pattern", pattern)
		}
	}
	return Selection{include: set.Include, exclude: set.Exclude}, nil
}

// Everything says whether the set takes the whole tree.
func (s Selection) Everything() bool { return len(s.include) == 0 && len(s.exclude) == 0 }

// excludes says whether the entry, and all in it, is left out.
func (s Selection) excludes(name string) bool { return matchesAny(s.exclude, name) }

// includes says whether the entry, and all in it, is taken. Directories above a
// taken entry are taken with it.
func (s Selection) includes(name string) bool {
	return len(s.include) == 0 || matchesAny(s.include, name)
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		subject := name
		if !strings.Contains(pattern, "/") {
			subject = path.Base(name)
		}
		if doublestar.MatchUnvalidated(strings.TrimPrefix(pattern, "/"), subject) {
			return true
		}
	}
	return false
}
