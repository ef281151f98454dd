package system

import (
	"fmt"
	"iter"
	"net/mail"
	"path"
	"strings"
	"time"
)

// Validate gives everything that is wrong with the system, whatever host it is
// on: Path is set, File and Line are not. A parsed and defaulted System has none.
func (s System) Validate() Findings {
	v := &validation{System: s}
	v.top()
	v.stores()
	v.components()
	v.services("services", v.Services)
	v.migrations("migrations", v.Migrations)
	v.checks("checks", v.Checks)
	v.schedules()
	v.targets()
	v.contacts()
	v.telemetry()
	v.connection()
	v.paths()
	return v.found
}

// Secrets gives each reference to a secret, and where it stands: "stores[0].access_key".
func (s System) Secrets() iter.Seq2[string, SecretRef] {
	return func(yield func(string, SecretRef) bool) {
		for i, store := range s.Stores {
			if !store.AccessKey.Empty() && !yield(at("stores", i, "access_key"), store.AccessKey) {
				return
			}
			if !store.SecretKey.Empty() && !yield(at("stores", i, "secret_key"), store.SecretKey) {
				return
			}
		}
		for i, key := range s.Keys.Encryption {
			if !yield(encryptionPath(i), key) {
				return
			}
		}
		if !s.Temporal.PayloadKey.Empty() && !yield("temporal.payload_key", s.Temporal.PayloadKey) {
			return
		}
		for i, key := range s.Temporal.PayloadKeys {
			if !yield(payloadKeyPath(i), key) {
				return
			}
		}
		for i, d := range s.Databases {
			if !d.Connection.Empty() && !yield(at("databases", i, "connection"), d.Connection) {
				return
			}
			if d.Standby != nil && !d.Standby.Connection.Empty() && !yield(at("databases", i, "standby.connection"), d.Standby.Connection) {
				return
			}
		}
		for i, c := range s.Caches {
			if !c.Password.Empty() && !yield(at("caches", i, "password"), c.Password) {
				return
			}
		}
	}
}

// checkSecrets gives the references that can't be resolved on this host.
func (s System) checkSecrets(env Env) Findings {
	v := &validation{System: s}
	for path, ref := range s.Secrets() {
		if message, hint := ref.check(env); message != "" {
			v.add(path, hint, "%s", message)
		}
	}
	return v.found
}

// validation collects what is wrong with one system.
type validation struct {
	System
	found Findings
}

func (v *validation) add(path, hint, format string, args ...any) {
	v.found = append(v.found, Finding{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func at(list string, i int, key string) string { return join(fmt.Sprintf("%s[%d]", list, i), key) }

// required says whether the value is there, and reports when it is not.
func (v *validation) required(path, value string) bool {
	if value == "" {
		key := path[strings.LastIndex(path, ".")+1:]
		v.add(path, "add the key "+key, "%s is required", key)
	}
	return value != ""
}

func (v *validation) oneOf(path, value string, allowed ...string) bool {
	for _, one := range allowed {
		if value == one {
			return true
		}
	}
	if v.required(path, value) {
		v.add(path, didYouMean(value, allowed), "%q is not allowed: %s", value, strings.Join(allowed, ", "))
	}
	return false
}

// refer reports a reference to something that is not configured.
func (v *validation) refer(path, what, name string, known []string) bool {
	for _, one := range known {
		if one == name {
			return true
		}
	}
	hint := fmt.Sprintf("configure a %s of this name", what)
	if len(known) > 0 {
		hint = didYouMean(name, known)
	}
	v.add(path, hint, "there is no %s named %q", what, name)
	return false
}

// nameShape: names stand in workflow IDs, object keys and file names.
var nameShape = newPattern(`^[a-z0-9][a-z0-9._-]{0,62}$`) //nolint:gochecknoglobals // never changed, like what regexp.MustCompile gives

func (v *validation) name(path, name string) {
	if v.required(path, name) && !nameShape.matches(name) {
		v.add(path, "use lower-case letters, digits, . _ - and at most 63 of them", "%q can't be a name", name)
	}
}

// distinct reports names that stand twice in one list.
func (v *validation) distinct(list string, names []string) {
	seen := map[string]int{}
	for i, name := range names {
		if first, twice := seen[name]; twice && name != "" {
			v.add(at(list, i, "name"), "give each its own name", "%q is the name of %s[%d] already", name, list, first)
			continue
		}
		seen[name] = i
	}
}

func named[T any](all []T, nameOf func(T) string) []string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = nameOf(one)
	}
	return names
}

func (v *validation) top() {
	v.name("system", v.Name)
	if p := v.Plan; !p.LastReview.IsZero() && !p.NextReview.IsZero() && p.NextReview.Before(p.LastReview.Time) {
		v.add("plan.next_review", "set it to the day of the next review", "the next review (%s) lies before the last (%s)", p.NextReview, p.LastReview)
	}
	if v.Backup.Retention < Duration(day) {
		v.add("backup.retention", "the usual retention is 30d", "%s is shorter than a day: backups would go before they are needed", v.Backup.Retention)
	}
	if v.Limits.Memory < 64<<20 {
		v.add("limits.memory", "give at least 64MiB; the default is 192MiB", "%s is too little to hold the chunks in flight", v.Limits.Memory)
	}
	if v.Limits.Parallel < 1 || v.Limits.Parallel > 256 {
		v.add("limits.parallel", "leave it out to have twice the number of cores", "%d is not between 1 and 256", v.Limits.Parallel)
	}
	if len(v.Keys.Encryption) == 0 {
		v.add("keys.encryption", "add a reference such as env:"+EnvEncryptionKey, "no encryption key is configured: backups are always encrypted")
	}
	seen := map[string]bool{}
	for i, ref := range v.Keys.Encryption {
		at := encryptionPath(i)
		if v.required(at, string(ref)) && seen[string(ref)] {
			v.add(at, "keep one of them", "this key stands twice")
		}
		seen[string(ref)] = true
	}
	for i, recipient := range v.Keys.Recipients {
		v.required(fmt.Sprintf("keys.recipients[%d]", i), recipient)
	}
}

// objectives reports a component that contradicts the objectives of the whole.
func (v *validation) objectives(list string, i int, c Component) {
	rto, whole := at(list, i, "rto"), v.Objectives.RTO
	switch {
	case c.Critical && c.RTO > whole.Critical:
		v.add(rto, "shorten it, or lengthen objectives.rto.critical", "%s is longer than the %s of all critical components together", c.RTO, whole.Critical)
	case c.RTO > whole.System:
		v.add(rto, "shorten it, or lengthen objectives.rto.system", "%s is longer than the %s of the whole system", c.RTO, whole.System)
	}
}

func (v *validation) contacts() {
	person := func(list string, i int, c Contact) {
		v.required(at(list, i, "role"), c.Role)
		if v.required(at(list, i, "email"), c.Email) {
			if parsed, err := mail.ParseAddress(c.Email); err != nil || parsed.Address != c.Email {
				v.add(at(list, i, "email"), "write the bare address: admin@example.com", "%q is no e-mail address", c.Email)
			}
		}
		if c.Phone != "" && !phoneShape.matches(c.Phone) {
			v.add(at(list, i, "phone"), "write it internationally: +4915112345678", "%q is no telephone number", c.Phone)
		}
	}
	for i, c := range v.Contacts.Primary {
		person("contacts.primary", i, c)
	}
	for i, c := range v.Contacts.Escalation {
		person("contacts.escalation", i, c)
	}
	for i, e := range v.Contacts.External {
		v.required(at("contacts.external", i, "name"), e.Name)
	}
}

// phoneShape is E.164.
var phoneShape = newPattern(`^\+[1-9][0-9]{6,14}$`) //nolint:gochecknoglobals // never changed, like what regexp.MustCompile gives

func (v *validation) glob(at, pattern string) {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		v.add(at, "examples: *.jpg, cache/**, report-[0-9].pdf", "%q is no pattern", pattern)
	}
}

func (v *validation) timeout(path string, d Duration) {
	if d < Duration(100*time.Millisecond) {
		v.add(path, "leave it out to have the default", "%s is too short", d)
	}
}
