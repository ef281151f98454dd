package system_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/frende/lifeboat/internal/system"
)

// compiledSchema is the schema as a validator reads it; that it compiles says that it is one.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := system.Schema()
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("lifeboat.schema.json", document))
	compiled, err := compiler.Compile("lifeboat.schema.json")
	require.NoError(t, err)
	return compiled
}

// tree is a YAML document as an editor sees it: a date is text.
func tree(t *testing.T, text string) any {
	t.Helper()
	var node yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(text), &node))
	return grown(t, node.Content[0])
}

func grown(t *testing.T, node *yaml.Node) any {
	t.Helper()
	switch node.Kind {
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i < len(node.Content); i += 2 {
			all[node.Content[i].Value] = grown(t, node.Content[i+1])
		}
		return all
	case yaml.SequenceNode:
		all := []any{}
		for _, item := range node.Content {
			all = append(all, grown(t, item))
		}
		return all
	default:
		if node.Tag == "!!timestamp" {
			return node.Value
		}
		var value any
		require.NoError(t, node.Decode(&value))
		return value
	}
}

func TestSchemaAcceptsWhatTheLoaderAccepts(t *testing.T) {
	schema := compiledSchema(t)
	example, err := os.ReadFile("../../examples/frende/lifeboat.yaml")
	require.NoError(t, err)
	require.NoError(t, schema.Validate(tree(t, string(example))))
	require.NoError(t, schema.Validate(tree(t, good)))
	fromEnvironment := good[:strings.Index(good, "stores:")] + good[strings.Index(good, "databases:"):]
	require.NoError(t, schema.Validate(tree(t, fromEnvironment)), "the environment can give store and key")
	nothingBehind := good + "limits:\nplan:\nbackup: {retention:, enabled:}\ncontacts: {primary:}\n"
	require.Empty(t, findings(t, nothingBehind, secrets))
	require.NoError(t, schema.Validate(tree(t, nothingBehind)), "a key with nothing behind it is none")
}

// beyondSchema are the mistakes that no schema can see, and why.
func beyondSchema() map[string]string {
	const reference, overlap, environment, syntax, arithmetic = "a reference", "an overlap", "the environment", "the text", "arithmetic"
	return map[string]string{
		"missing service": reference, "application as server": reference, "server used twice": reference, "missing replica": reference,
		"unit in a sandbox": reference, "replication of nothing": reference, "missing database": reference, "replica circle": reference, "no primary": reference, "duplicate name": reference, "of another kind": reference,
		"one place twice": overlap, "paths equal": overlap, "paths nested": overlap, "socket that a recovery would replace": overlap, "sandbox over production": overlap,
		"production's commands in a sandbox": overlap, "production asked by a drill": overlap, "sandbox in production": overlap, "sandbox on a used port": overlap,
		"standby that is the primary": overlap,
		"unset variable":              environment, "unset variable of a standby": environment, "missing file": environment, "no key": environment,
		"key twice": syntax, "second document": syntax, "no YAML": syntax,
		"part of a second": arithmetic, "short timeout": arithmetic, "long catch-up": arithmetic, "standby that is hours behind": arithmetic, "Feb 30": arithmetic, "too often": arithmetic, "RTO against the whole": arithmetic, "RTO against critical": arithmetic,
		"bad pattern": "the language of globs", "long socket": "a relative path counts from the file",
	}
}

func TestSchemaRefusesEachMistakeThatItCanSee(t *testing.T) {
	schema, beyond := compiledSchema(t), beyondSchema()
	for _, c := range mistakes() {
		if why := beyond[c.name]; why != "" {
			delete(beyond, c.name)
			continue
		}
		require.Error(t, schema.Validate(tree(t, strings.Replace(good, c.from, c.to, 1))),
			"%s: the schema has to refuse it, or beyondSchema to say why it can't", c.name)
	}
	require.Empty(t, beyond, "there are no such mistakes")
}

// The loader and the schema are asked the same of each object in the example,
// key by key: without it, with another beside it, and with another shape.
func TestSchemaAndLoaderAgreeOnEachKey(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // thousands of small documents
	schema := compiledSchema(t)
	example, err := os.ReadFile("../../examples/frende/lifeboat.yaml")
	require.NoError(t, err)
	env := environment("KEY", "k", "DSN", "d", "BACKUP_ENCRYPTION_KEY", "b", "FRENDE_DATABASE_URL", "u")
	asked := 0
	for _, text := range []string{string(example), good} {
		document := tree(t, text).(map[string]any)
		ask := func(at, what string, refusedFor ...string) {
			t.Helper()
			asked++
			raw, err := yaml.Marshal(document)
			require.NoError(t, err)
			found, refused := findings(t, string(raw), env), schema.Validate(document)
			if refused != nil {
				require.NotEmpty(t, found, "the schema alone refuses %s %s: %v", at, what, refused)
				return
			}
			for _, f := range found {
				for _, word := range refusedFor {
					require.NotContains(t, f.Message, word, "the loader alone refuses %s %s: %s", at, what, f)
				}
			}
		}
		askAbout := func(at string, object map[string]any, of reflect.Type) {
			object["zz"] = "x"
			ask(at, "with another key", "unknown key")
			delete(object, "zz")
			for i := range of.NumField() {
				key, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
				if key == "" || key == "-" {
					continue
				}
				value, present := object[key]
				if at != "" || key != "stores" && key != "keys" { // the environment may give them
					delete(object, key)
					ask(at, "without "+key, "is required")
				}
				for _, other := range []any{"text", 7, true, []any{"text"}, []any{7}, map[string]any{"zz": 1}} {
					object[key] = other
					ask(at, fmt.Sprintf("with %s: %v", key, other), "must be", "is not a", "is no compression", "unknown key", "is not allowed", "is not a reference")
				}
				delete(object, key)
				if present {
					object[key] = value
				}
			}
		}
		// Nothing refers to what lies in these, so that each is asked about without the others.
		apart := map[string]any{}
		for _, key := range []string{"schedules", "checks", "migrations", "contacts"} {
			if value, present := document[key]; present {
				apart[key] = value
				delete(document, key)
			}
		}
		visit(document, reflect.TypeFor[system.System](), "", askAbout)
		for key, value := range apart {
			items, several := value.([]any)
			if !several {
				items = []any{value}
			}
			for _, item := range items {
				document[key] = item
				if several {
					document[key] = []any{item}
				}
				visitKey(document, reflect.TypeFor[system.System](), key, "", askAbout)
			}
			delete(document, key)
		}
	}
	require.Greater(t, asked, 4000)
}

// visit calls do for each object of the document that is a struct's.
func visit(value any, of reflect.Type, at string, do func(at string, object map[string]any, of reflect.Type)) {
	switch value := value.(type) {
	case []any:
		for i, item := range value {
			visit(item, of.Elem(), fmt.Sprintf("%s[%d]", at, i), do)
		}
	case map[string]any:
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
			visitKey(value, of, key, at, do)
		}
		do(at, value, of)
	}
}

// visitKey visits what an object has behind a key.
func visitKey(object map[string]any, of reflect.Type, key, at string, do func(at string, object map[string]any, of reflect.Type)) {
	below, present := object[key]
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
		if present && name == key {
			visit(below, of.Field(i).Type, strings.TrimPrefix(at+"."+key, "."), do)
		}
	}
}

func TestSchemaAndLoaderAgreeOnTheShapesOfScalars(t *testing.T) {
	schema := compiledSchema(t)
	for _, c := range []struct {
		from, key string
		texts     []string
	}{
		{"cron: 0 2 * * *", "every", []string{
			"45m", "1h30m", "30d", "1d12h", "90m0s", "1.5h", "100s", "1d0", "", "5", "1.5d", "d", "5 m", "1d-2h", "-5m", "--5m", "1h1d", "m", "h5", "1d1d",
		}},
		{"cron: 0 2 * * *", "cron", []string{
			"0 2 * * *", "*/15 * * * *", "0-30/5 0,12 1-7 jan,APR,7-12 6", "59 23 31 12 7", "5/10 * * * sun-fri", " 0  2 * * * ", "00 02 * * *",
			"60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * 0 *", "* * * * 8", "*/0 * * * *", "*/60 * * * *",
			"* * * *", "* * * * * *", "a * * * *", "* * * janu *", "1, * * * *", "1-2-3 * * * *", "* * * * mon-", "@daily", "5/ * * * *",
		}},
		{"    port_base: 25432", "port_base", []string{"25433", "1024", "1023", "65534", "65536", "0", "-1", "1.5"}},
		{"name: uploads", "name", []string{"a", "9a", "a.b_c-d", "A", "-a", "a b", "ü", strings.Repeat("a", 63), strings.Repeat("a", 64)}},
		{"    bucket: shop-second", "bucket", []string{"abc", "a.b-c", "ab", "-abc", "abc-", "Abc", strings.Repeat("a", 64)}},
		{"    address: 127.0.0.1:6379", "address", []string{"h:1", "[::1]:6379", "::1:6379", "h", ":1", "h:", "h:x", "h:123456"}},
		{"    url: http://127.0.0.1:8000/", "url", []string{"http://h", "HTTPS://h/p?q=a@b#c", "http://h/a@b", "ftp://h", "h/p", "http://", "http:///p", "http://u:p@h", "http://u@h/p"}},
	} {
		for _, text := range c.texts {
			quoted := fmt.Sprintf("%q", text)
			if c.key == "port_base" {
				quoted = text
			}
			line := c.key + ": " + quoted
			changed := strings.Replace(good, c.from, c.from[:len(c.from)-len(strings.TrimLeft(c.from, " "))]+line, 1)
			require.NotEqual(t, good, changed)
			found, refused := findings(t, changed, secrets), schema.Validate(tree(t, changed))
			require.Equal(t, len(found) == 0, refused == nil, "%s: loader %v, schema %v", line, found, refused)
		}
	}
	for key, texts := range map[string][]string{
		"limits: {memory: %s}":                                             {"192MiB", "100000000", "1GB", "7000000 kB", "1.5GiB", "MiB", "1 XB", "-1", "many"},
		"limits: {restore_rate: %s}":                                       {"0", "10B", "5 MB", "x"},
		"limits: {parallel: %s}":                                           {"1", "256", "257", "-1"},
		"plan: {last_review: %s}":                                          {"2024-01-31", "2024-13-01", "2024-1-1", "January"},
		"backup: {compression: %s}":                                        {"zstd", "gzip", "none", "true", "false", "brotli", "7"},
		"backup: {enabled: %s}":                                            {"true", "false", "yes please", "1"},
		"contacts: {primary: [{role: r, email: %s}]}":                      {"a@b.c", "a", "a@", "A <a@b.c>", "'a b@c'"},
		"contacts: {primary: [{role: r, email: 'a@b.c', phone: '%s'}]}":    {"+4915112345678", "015112345678", "+0151", "+49 151"},
		"objectives: {rto: {system: 90m, critical: %s}, rpo: {files: 1d}}": {"30m", "0s", "soon"},
	} {
		for _, text := range texts {
			changed := good + fmt.Sprintf(key, text) + "\n"
			found, refused := findings(t, changed, secrets), schema.Validate(tree(t, changed))
			require.Equal(t, len(found) == 0, refused == nil, "%s %s: loader %v, schema %v", key, text, found, refused)
		}
	}
}

// declared finds each struct type below t that a file can set, and its named scalars.
func declared(t reflect.Type, into map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		declared(t.Elem(), into)
	default:
		if t.PkgPath() != reflect.TypeFor[system.System]().PkgPath() || into[t.Name()] != nil {
			return
		}
		into[t.Name()] = t
		for i := 0; t.Kind() == reflect.Struct && i < t.NumField(); i++ {
			declared(t.Field(i).Type, into)
		}
	}
}

func TestSchemaDescribesEachTypeWithTheCommentOfItsSource(t *testing.T) {
	text, err := system.Schema()
	require.NoError(t, err)
	source, err := os.ReadFile("types.go")
	require.NoError(t, err)
	types := map[string]reflect.Type{}
	declared(reflect.TypeFor[system.System](), types)
	require.Contains(t, slices.Collect(maps.Keys(types)), "SQLCheck")
	for name, of := range types {
		require.Regexp(t, `(?m)^(type |\t)`+name+` `, string(source), "declare %s in types.go: its comments describe the schema", name)
		if of.Kind() == reflect.Struct && name != "System" && name != "Date" {
			require.Contains(t, string(text), `"`+name+`": {`+"\n"+`      "description": "`+name, "%s needs a comment", name)
		}
	}
	require.Contains(t, string(text), `"description": "where postgresql.conf lies, when not in data_dir (Debian)"`, "fields are named by their keys")
	require.Contains(t, string(text), `"default": "30d"`)
	require.NotContains(t, string(text), `"port":`, "what a file can't set is not in it")
}
