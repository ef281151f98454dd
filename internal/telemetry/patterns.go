package telemetry

import (
	"regexp"
	"strings"
)

// pattern is what a secret looks like that this process never resolved: one of a
// program, a library or another host that stands in an error's text. What stands
// before it, group 1, is kept.
type pattern struct {
	shape *regexp.Regexp
	after string
}

// patterns rather hide too much than too little.
func patterns() []pattern {
	return []pattern{
		{shape: regexp.MustCompile(`(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)},
		// A header reaches to the end of its line, or of the quotes around it.
		{shape: regexp.MustCompile(`(?i)((?:proxy-)?authorization["'\\]*\s*[=:]\s*["'\\\[]*)[^"'\\\]\r\n]+`)},
		{shape: regexp.MustCompile(`(?i)\b(bearer )[a-z0-9._~+/=-]{16,}`)},
		// An address that its own parser refused may have any character in its password.
		{shape: regexp.MustCompile(`(?i)\b((?:postgres|postgresql|redis|rediss|mysql|amqps?|ldaps?|smtps?)://)[^\s"'@/?#]*:[^\s"']*@`), after: "@"},
		{shape: regexp.MustCompile(`(://)[^\s"'@/?#]+@`), after: "@"},
		{shape: regexp.MustCompile(`(?i)\b([a-z_-]*(?:password|passwd|passphrase|secret|token|(?:api|access|secret|private|encryption|payload)[_-]?key)["'\\]*\s*[=:]\s*)` + value)},
		{shape: regexp.MustCompile(`()\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}\b`)},
		{shape: regexp.MustCompile(`(?i)\b(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s"']+`)},
		{shape: regexp.MustCompile(`(?i)\b((?:Signature|Credential)=)[a-z0-9/+=_-]{16,}`)},
		{shape: regexp.MustCompile(`()\bAGE-SECRET-KEY-[A-Z0-9-]+`)},
	}
}

// value is what follows a name and an equals sign or a colon: quoted, as in JSON
// and libpq's connection strings, or up to the next space.
const value = `((?:\\?"(?:[^"\\]|\\[^"])*\\?")|'(?:[^'\\]|\\.)*'|\S+)`

func (p pattern) hide(text string) string {
	return p.shape.ReplaceAllStringFunc(text, func(found string) string {
		groups := p.shape.FindStringSubmatch(found)
		if len(groups) > 2 && reference(groups[2]) {
			return found
		}
		return groups[1] + redacted + p.after
	})
}

// reference says whether a value only says where a secret lies.
func reference(value string) bool {
	value = strings.Trim(value, `"'\`)
	return strings.HasPrefix(value, "env:") || strings.HasPrefix(value, "file:")
}
