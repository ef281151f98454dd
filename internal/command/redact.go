package command

import (
	"bytes"
	"cmp"
	"io"
	"regexp"
	"slices"
)

// redacted stands where a secret stood.
const redacted = "[redacted]"

// shortestSecret is the length under which a value is no secret worth hiding:
// replacing every "a" would hide the output instead.
const shortestSecret = 4

// redactor replaces secrets in a stream, also those that are split between two
// writes. Close writes what was held back.
type redactor struct {
	to      io.Writer
	secrets [][]byte // longest first
	held    []byte
}

func newRedactor(to io.Writer, secrets []string) *redactor {
	r := &redactor{to: to}
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			r.secrets = append(r.secrets, []byte(secret))
		}
	}
	slices.SortFunc(r.secrets, func(a, b []byte) int { return cmp.Compare(len(b), len(a)) })
	return r
}

func (r *redactor) Write(p []byte) (int, error) {
	if len(r.secrets) == 0 {
		return r.to.Write(p)
	}
	clean, rest := r.replace(append(r.held, p...), false)
	r.held = bytes.Clone(rest)
	if _, err := r.to.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what might have been the beginning of a secret.
func (r *redactor) Close() error {
	clean, _ := r.replace(r.held, true)
	r.held = nil
	_, err := r.to.Write(clean)
	return err
}

// replace gives the text without secrets, and the end of it that could still
// become one, which is empty when the text is the last.
func (r *redactor) replace(text []byte, last bool) (clean, rest []byte) {
	for i := 0; i < len(text); {
		length, undecided := r.match(text[i:])
		switch {
		case undecided && !last:
			return clean, text[i:]
		case length > 0:
			clean = append(clean, redacted...)
			i += length
		default:
			clean = append(clean, text[i])
			i++
		}
	}
	return clean, nil
}

// match gives the length of the longest secret at the start of text, and
// whether a longer one may be there that text does not hold to its end.
func (r *redactor) match(text []byte) (length int, undecided bool) {
	for _, secret := range r.secrets {
		if bytes.HasPrefix(text, secret) {
			return len(secret), undecided
		}
		undecided = undecided || bytes.HasPrefix(secret, text)
	}
	return 0, undecided
}

// Redact takes secrets out of a line that is about to be shown: the values given,
// and what looks like a credential, whoever knows of it or not: the user part of
// an address, values that are called a password, a secret, a token or a key, and
// what an Authorization header holds.
func Redact(line string, secrets ...string) string {
	var clean bytes.Buffer
	r := newRedactor(&clean, secrets)
	_, _ = r.Write([]byte(line)) // a bytes.Buffer takes everything
	_ = r.Close()
	return scrub(clean.String())
}

// scrub hides what looks like a credential. A password may hold an "@" or a
// slash, so an address is cut at the last "@" of the word.
func scrub(line string) string {
	line = regexp.MustCompile(`://[^\s"'<>]*@`).ReplaceAllString(line, "://"+redacted+"@")
	line = regexp.MustCompile(`(?i)((?:bearer|basic) +)[\w~+/=.-]{8,}`).ReplaceAllString(line, "${1}"+redacted)
	return regexp.MustCompile(`(?i)((?:passw(?:or)?d|pwd|passphrase|secret|token|key)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)`).
		ReplaceAllString(line, "${1}"+redacted)
}

// tail keeps the last bytes written to it.
type tail struct {
	limit   int
	kept    []byte
	dropped bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.cut()
	}
	return len(p), nil
}

func (t *tail) cut() {
	if len(t.kept) > t.limit {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-t.limit:]...)
		t.dropped = true
	}
}
