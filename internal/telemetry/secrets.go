package telemetry

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/frende/lifeboat/internal/system"
)

// redacted stands where a secret stood.
const redacted = "[redacted]"

// shortestSecret is the length under which a secret is hidden only where it
// stands alone or behind a name: replacing every "a" would hide the log instead.
const shortestSecret = 4

// Secrets are the secrets that a process has resolved. Redact takes them out of
// a text, and whatever else looks like a secret. It is safe for concurrent use.
type Secrets struct {
	patterns []pattern

	mu    sync.RWMutex
	known map[string]bool
	short map[string]bool
	hide  *strings.Replacer // nil until there is something to hide
}

// NewSecrets knows no secret yet.
func NewSecrets() *Secrets {
	return &Secrets{patterns: patterns(), known: map[string]bool{}, short: map[string]bool{}}
}

// Add makes a secret known, with the spellings that it has in an address, in
// JSON and in Go's quotes. Of a connection string the password counts on its own, too.
func (s *Secrets) Add(secret []byte) {
	text := string(bytes.TrimSpace(secret))
	if text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[text] || s.short[text] {
		return // each step resolves what it needs anew
	}
	for _, one := range append(passwords(text), text) {
		if len(one) < shortestSecret {
			s.short[one] = true
			continue
		}
		for _, spelling := range spellings(one) {
			s.known[spelling] = true
		}
	}
	longestFirst := make([]string, 0, len(s.known))
	for one := range s.known {
		longestFirst = append(longestFirst, one)
	}
	slices.SortFunc(longestFirst, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	pairs := make([]string, 0, 2*len(longestFirst))
	for _, one := range longestFirst {
		pairs = append(pairs, one, redacted)
	}
	s.hide = strings.NewReplacer(pairs...)
}

// AddEnvironment makes known what is read from the environment by the libraries
// themselves, without a reference in the configuration.
func (s *Secrets) AddEnvironment(env system.Env) {
	for _, name := range []string{
		"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "TEMPORAL_API_KEY", "TEMPORAL_CODEC_AUTH", "PGPASSWORD", system.EnvEncryptionKey,
	} {
		if value, ok := env(name); ok {
			s.Add([]byte(value))
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		headers, _ := env(name)
		for header := range strings.SplitSeq(headers, ",") {
			if _, value, ok := strings.Cut(header, "="); ok {
				s.Add([]byte(value))
			}
		}
	}
}

// Redact gives the text without secrets.
func (s *Secrets) Redact(text string) string {
	s.mu.RLock()
	hide, alone := s.hide, s.short[text]
	s.mu.RUnlock()
	if alone {
		return redacted
	}
	if hide != nil {
		text = hide.Replace(text)
	}
	for _, pattern := range s.patterns {
		text = pattern.hide(text)
	}
	return text
}

// passwordOf finds the password of a libpq connection string.
var passwordOf = regexp.MustCompile(`(?i)\b(?:password|passwd|sslpassword)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))`)

// passwordIn finds the password of an address that url.Parse refuses.
var passwordIn = regexp.MustCompile(`^[a-z+]+://[^:@/\s]*:(.*)@`)

// passwords are the secrets inside a connection string, as written and as meant.
func passwords(text string) []string {
	var found []string
	if parsed, err := url.Parse(text); err == nil && parsed.Scheme != "" {
		if password, ok := parsed.User.Password(); ok {
			found = append(found, password)
		}
		for _, name := range []string{"password", "sslpassword"} {
			found = append(found, parsed.Query().Get(name))
		}
	} else if match := passwordIn.FindStringSubmatch(text); match != nil {
		found = append(found, match[1])
	} else {
		for _, match := range passwordOf.FindAllStringSubmatch(text, -1) {
			found = append(found, match[1], match[2], strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(match[1]))
		}
	}
	return slices.DeleteFunc(found, func(one string) bool { return one == "" })
}

func spellings(secret string) []string {
	quoted := strconv.Quote(secret)
	all := []string{
		secret,
		url.QueryEscape(secret),
		url.PathEscape(secret),
		strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
		quoted[1 : len(quoted)-1],
		base64.StdEncoding.EncodeToString([]byte(secret)),
	}
	if encoded, err := json.Marshal(secret); err == nil {
		all = append(all, string(encoded[1:len(encoded)-1]))
	}
	return all
}
