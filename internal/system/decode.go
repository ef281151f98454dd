package system

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

type position struct{ line, column int }

// source is the text of a configuration: it decodes strictly, remembers where
// everything stands, and collects what is wrong with it.
type source struct {
	file     string
	at       map[string]position
	moved    map[string]string // where something stood in the file before the environment's came first
	spoilt   []string          // paths whose value could not be read
	findings Findings
}

// report adds a finding, at the place of its path or of what encloses it.
func (s *source) report(found Finding) {
	found.File = s.file
	for path := found.Path; ; path = parent(path) {
		if at, ok := s.at[path]; ok {
			found.Line, found.Column = at.line, at.column
			break
		}
		if path == "" {
			break
		}
	}
	s.findings = append(s.findings, found)
}

// parent gives "databases[0]" for "databases[0].service", and "databases" for that.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// spoiled says whether the value at path, or one that encloses it, could not be read.
func (s *source) spoiled(path string) bool {
	for ; path != ""; path = parent(path) {
		if slices.Contains(s.spoilt, path) {
			return true
		}
	}
	return slices.Contains(s.spoilt, "") // nothing was read
}

func (s *source) refuse(node *yaml.Node, path, hint, format string, args ...any) {
	s.spoilt = append(s.spoilt, path)
	s.findings = append(s.findings, Finding{
		File: s.file, Line: node.Line, Column: node.Column, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// decode reads the one YAML document of text into the system.
func (s *source) decode(text []byte, into *System) {
	s.at[""] = position{1, 1}
	loader, err := yaml.NewLoader(strings.NewReader(string(text)))
	if err != nil {
		s.findings = append(s.findings, Finding{File: s.file, Message: err.Error()})
		return
	}
	var document, second yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF):
		return // an empty file lacks everything that is required, and Validate says so
	case err != nil:
		s.syntax(string(text), err)
		return
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		s.findings = append(s.findings, Finding{
			File: s.file, Line: second.Line, Column: second.Column, Message: "a second document follows the first",
			Hint: "keep one document in the file: remove what follows the line ---",
		})
	}
	root := &document
	if root.Kind == yaml.DocumentNode {
		root = root.Content[0]
	}
	s.value(root, reflect.ValueOf(into).Elem(), "")
}

// value decodes node into target, which lies at path.
func (s *source) value(node *yaml.Node, target reflect.Value, path string) {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return // "key:" with nothing behind it is the same as no key
	}
	if reader, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if node.Kind != yaml.ScalarNode {
			s.refuse(node, path, "", "must be one value, not %s", shape(node))
		} else if err := reader.UnmarshalText([]byte(node.Value)); err != nil {
			message, hint := halves(err)
			s.refuse(node, path, hint, "%s", message)
		} else if d, ok := reader.(*Duration); ok && *d < 0 {
			s.refuse(node, path, "write it without the minus", "%s is negative", node.Value)
		}
		return
	}
	switch target.Kind() {
	case reflect.Struct:
		s.mapping(node, target, path)
	case reflect.Slice:
		s.sequence(node, target, path)
	case reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		s.value(node, target.Elem(), path)
	case reflect.String:
		if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
			s.refuse(node, path, quoteHint(node), "must be text, not %s", shape(node))
			return
		}
		target.SetString(node.Value)
	case reflect.Bool:
		if node.Kind != yaml.ScalarNode || node.Tag != "!!bool" {
			s.refuse(node, path, "write true or false", "must be true or false, not %s", shape(node))
			return
		}
		target.SetBool(strings.EqualFold(node.Value, "true"))
	case reflect.Int, reflect.Int64:
		number, err := strconv.ParseInt(node.Value, 10, target.Type().Bits())
		if node.Kind != yaml.ScalarNode || err != nil {
			s.refuse(node, path, "write digits alone", "must be a whole number, not %s", shape(node))
			return
		}
		target.SetInt(number)
	default:
		s.refuse(node, path, "", "can't be set in a file")
	}
}

// halves parts what is wrong with a scalar from what to write instead.
func halves(err error) (message, hint string) {
	message, hint, found := strings.Cut(err.Error(), ": write ")
	if found {
		hint = "write " + hint
	}
	return message, hint
}

func (s *source) mapping(node *yaml.Node, target reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		s.refuse(node, path, "write keys with values, indented below", "must be keys with values, not %s", shape(node))
		return
	}
	fields := fieldsOf(target.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		index, known := fields[key.Value]
		switch {
		case !known:
			s.refuse(key, at, didYouMean(key.Value, names(target.Type())), "unknown key %q", key.Value)
			continue
		case seen[key.Value]:
			s.refuse(key, at, "keep one of them", "key %q stands twice", key.Value)
			continue
		}
		seen[key.Value] = true
		s.at[at] = position{key.Line, key.Column}
		s.value(value, target.Field(index), at)
	}
}

func (s *source) sequence(node *yaml.Node, target reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		s.refuse(node, path, "write a list: each item on its own line, after a dash", "must be a list, not %s", shape(node))
		return
	}
	items := reflect.MakeSlice(target.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		s.at[at] = position{item.Line, item.Column}
		s.value(item, items.Index(i), at)
	}
	target.Set(items)
}

// names lists the YAML keys of a struct, in its order.
func names(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" && name != "-" {
			all = append(all, name)
		}
	}
	return all
}

func fieldsOf(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}

func shape(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "keys with values"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Tag == "!!int" || node.Tag == "!!float":
		return "a number"
	case node.Tag == "!!bool":
		return "true or false"
	case node.Tag == "!!timestamp":
		return "a date"
	default:
		return "text"
	}
}

func quoteHint(node *yaml.Node) string {
	if node.Kind == yaml.ScalarNode {
		return fmt.Sprintf("put it in quotes: %q", node.Value)
	}
	return ""
}
