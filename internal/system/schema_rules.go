package system

import (
	"fmt"
	"slices"
	"strings"
)

// What the loader demands of a field beyond its type. The tests hold each of
// these to what the loader says.

// requiredKeys lists, by type, the keys without which Validate refuses. Stores
// and keys are not among them: the environment may give them.
func requiredKeys() map[string][]string {
	return map[string][]string{
		"System":    {"system"},
		"Store":     {"name", "bucket", "region"},
		"Database":  {"name", "connection", "data_dir", "service"},
		"Standby":   {"connection"},
		"SQLCheck":  {"sql"},
		"Cache":     {"name", "address", "data_dir", "service"},
		"FileSet":   {"name", "root"},
		"Service":   {"name"},
		"Migration": {"name", "database", "command"},
		"Check":     {"name", "kind"},
		"Schedule":  {"name", "workflow"},
		"Target":    {"name", "kind"},
		"Contact":   {"role", "email"},
		"External":  {"name"},
	}
}

// Shapes of scalars, as their UnmarshalText and Validate take them.
const (
	durationPattern = `^[0-9]+d$|^(?:[0-9]+d)?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)$`
	datePattern     = `^$|^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$`
	secretPattern   = `^$|^(?:env|file):.`
	hostPortPattern = `^$|^(?:\[[^\]]+\]|[^:\[\]]+):[0-9]{1,5}$`
	urlPattern      = `^$|^[hH][tT][tT][pP][sS]?://[^/?#@]+(?:[/?#].*)?$`
	emailPattern    = `^[^@<>\s]+@[^@<>\s]+$`
)

func bytesPattern() string {
	var units []string
	for _, unit := range byteUnits() {
		units = append(units, unit.name)
	}
	return `^\s*[0-9]+\s*(?:` + strings.Join(units, "|") + `)?\s*$`
}

// cronPattern takes the five fields with their ranges; that such a day never comes it can't see.
func cronPattern() string {
	var fields []string
	for _, field := range cronFields() {
		one := fmt.Sprintf(`(?:\*|%[1]s(?:-%[1]s)?)(?:/0*%[2]s)?`, field.pattern(), numbers(1, field.top))
		fields = append(fields, fmt.Sprintf(`%[1]s(?:,%[1]s)*`, one))
	}
	// Of the two fields for days, one at least is left open.
	line := func(day, weekday string) string {
		return `^\s*` + strings.Join([]string{fields[0], fields[1], day, fields[3], weekday}, `\s+`) + `\s*$`
	}
	const open = `\*`
	return `^$|` + line(open, fields[4]) + `|` + line(fields[2], open)
}

// pattern takes one number of the field, or its name.
func (f cronField) pattern() string {
	choices := []string{"0*" + numbers(f.low, f.top)}
	for name := range slices.Chunk([]byte(f.names), 3) {
		either := ""
		for _, letter := range string(name) {
			either += "[" + string(letter) + strings.ToUpper(string(letter)) + "]"
		}
		choices = append(choices, either)
	}
	return "(?:" + strings.Join(choices, "|") + ")"
}

// numbers takes the numbers from low to top, of at most two digits.
func numbers(low, top int) string {
	var choices []string
	for tens := top / 10; tens >= 0; tens-- {
		first, last := max(low-tens*10, 0), min(top-tens*10, 9)
		lead := ""
		if tens > 0 {
			lead = fmt.Sprint(tens)
		}
		if first <= last {
			choices = append(choices, fmt.Sprintf("%s[%d-%d]", lead, first, last))
		}
	}
	return "(?:" + strings.Join(choices, "|") + ")"
}

// constrain adds what the loader demands of the value at "Type.key".
func constrain(s *schema, at string, required bool) {
	const nameHint = "use lower-case letters, digits, . _ - and at most 63 of them"
	emptyOr := func(pattern string) string { return "^$|" + pattern }
	switch at {
	case "System.system", "Store.name", "Database.name", "Cache.name", "FileSet.name", "Service.name",
		"Migration.name", "Check.name", "Schedule.name", "Target.name":
		s.like(nameShape.source, nameHint)
	case "Database.cluster":
		s.like(emptyOr(nameShape.source), nameHint)
	case "Store.bucket":
		s.like(bucketShape.source, "3 to 63 lower-case letters, digits, dots and hyphens")
	case "Store.endpoint", "Check.url":
		s.like(urlPattern, "write it whole, without credentials, such as https://localhost:8000/health")
	case "Cache.address", "Check.address":
		s.like(hostPortPattern, "write host:port, such as 127.0.0.1:6379")
	case "Contact.email":
		s.like(emailPattern, "write the bare address: admin@example.com")
	case "Contact.phone":
		s.like(emptyOr(phoneShape.source), "write it internationally: +4915112345678")
	case "Schedule.cron":
		s.like(cronPattern(), "minute hour day-of-month month day-of-week, in UTC: 0 2 * * *")
	case "Schedule.when":
		s.like(emptyOr(`^\s*(?:first|second|third|fourth)\s+(?:`+strings.Join(weekdays(), "|")+`)\s+of\s+(?:month|quarter|year)\s+at\s+(?:[01][0-9]|2[0-3]):[0-5][0-9]\s*$`),
			"the first day of its name in a span, in UTC: "+whenForm)
	case "Schedule.workflow":
		for _, one := range schedulables() {
			s.Enum = append(s.Enum, one.name)
		}
	case "Limits.parallel":
		s.Minimum, s.Maximum = number(0), number(256)
	case "Target.port_base":
		s.Minimum, s.Maximum = number(0), number(65535)
	}
	if types, ok := s.Type.([]string); ok && required {
		s.Type = slices.DeleteFunc(types, func(one string) bool { return one == "null" })
		if slices.Contains(types, "array") {
			s.MinItems = 1
		} else {
			s.MinLength = 1
		}
		if types := s.Type.([]string); len(types) == 1 {
			s.Type = types[0]
		}
	}
}

// conditions adds what the loader demands of several keys together.
func conditions(s *schema, of string) {
	switch of {
	case "System":
		for _, list := range []string{"databases", "caches", "files", "configurations"} {
			s.AnyOf = append(s.AnyOf, having(list))
		}
	case "Store":
		s.DependentRequired = map[string][]string{"access_key": {"secret_key"}, "secret_key": {"access_key"}}
	case "Service":
		command := []string{"start", "stop", "status"}
		s.AllOf = append(
			s.AllOf,
			when("kind", ServiceCommand, command, "unit", "project"),
			when("kind", ServiceCompose, []string{"project"}, command...),
			whenUnset("kind", ServiceSystemd, append(command, "project")...),
		)
	case "Check":
		keys := []string{"url", "expect", "contains", "address", "database", "sql", "cache", "command"}
		for _, kind := range []struct {
			of       CheckKind
			required []string
			optional []string
		}{
			{CheckHTTP, []string{"url"}, []string{"expect", "contains"}},
			{CheckTCP, []string{"address"}, nil},
			{CheckSQL, []string{"database", "sql"}, nil},
			{CheckRedis, []string{"cache"}, nil},
			{CheckCommand, []string{"command"}, nil},
		} {
			others := slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
				return key == "expect" || slices.Contains(kind.required, key) || slices.Contains(kind.optional, key)
			})
			one := when("kind", kind.of, kind.required, others...)
			if kind.of == CheckHTTP {
				one.Then.Properties = append(one.Then.Properties, property{"expect", &schema{Minimum: number(100), Maximum: number(599)}})
			}
			s.AllOf = append(s.AllOf, one)
		}
	case "Schedule":
		s.OneOf = []*schema{having("cron"), having("when"), having("every")}
		s.AllOf = append(s.AllOf, when("level", lowestLevel, nil, "random"))
		for _, one := range schedulables() {
			if one.of == "" {
				s.AllOf = append(s.AllOf, when("workflow", one.name, nil, "of"))
			}
			if one.of != KindCache {
				s.AllOf = append(s.AllOf, when("workflow", one.name, nil, "if_changed"))
			}
			proof := when("workflow", one.name, nil, "level", "random")
			if one.name == verifyBackup {
				proof = when("workflow", one.name, nil)
				proof.Then.Properties = append(proof.Then.Properties, property{"level", &schema{Minimum: number(lowestLevel), Maximum: number(highestLevel)}})
			}
			s.AllOf = append(s.AllOf, proof)
			if one.name != "DumpDatabase" {
				s.AllOf = append(s.AllOf, when("workflow", one.name, nil, "format"))
			}
		}
	case "Target":
		sandbox := when("kind", TargetSandbox, []string{"root", "port_base"})
		sandbox.Then.Properties = append(sandbox.Then.Properties, property{"port_base", &schema{Minimum: number(1024)}})
		s.AllOf = append(s.AllOf, sandbox, when("kind", TargetProduction, nil, "root", "port_base", "services", "migrations", "checks", "compare"))
	}
}

func having(keys ...string) *schema { return &schema{Required: keys} }

// when says what is required and what means nothing if key has this value.
func when(key string, value any, required []string, meaningless ...string) *schema {
	s := whenUnset(key, value, meaningless...)
	s.If.Required, s.Then.Required = []string{key}, required
	return s
}

// whenUnset is when for a value that is the default, too.
func whenUnset(key string, value any, meaningless ...string) *schema {
	s := &schema{If: &schema{Properties: properties{{key, &schema{Const: value}}}}, Then: &schema{}}
	for _, one := range meaningless {
		s.Then.Properties = append(s.Then.Properties, property{one, nil})
	}
	return s
}
