package system

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that texts are held against. It is compiled when it is used for
// the first time: what PostgreSQL starts for each WAL file uses few of them.
type pattern struct {
	source   string
	compiled func() *regexp.Regexp
}

func newPattern(source string) pattern {
	return pattern{source: source, compiled: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(source) })}
}

func (p pattern) matches(text string) bool { return p.compiled().MatchString(text) }
