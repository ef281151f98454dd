package system

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Schema gives the JSON Schema (2020-12) of a lifeboat.yaml, for editors. Keys,
// types and defaults are those of System, descriptions and allowed values are
// the comments and constants of its source: a new field is in it by itself.
//
// What the schema refuses the loader refuses, too, except in form (a number in
// quotes, a duration 0 without a unit, a key that is empty and means nothing for
// its kind) and in this: it wants bucket and region of every store, though the
// environment may give those of the primary one. The loader refuses more than a
// schema can see: references, overlaps, secrets that are not there.
func Schema() ([]byte, error) {
	said, err := readSource()
	if err != nil {
		return nil, err
	}
	b := &schemaBuilder{source: said, defs: map[string]*schema{}}
	root := b.object(reflect.ValueOf(defaulted()))
	root.Schema, root.Title = "https://json-schema.org/draft/2020-12/schema", "lifeboat.yaml"
	root.Type = "object" // an empty file is none
	root.Defs = b.defs
	return json.MarshalIndent(root, "", "  ")
}

// schema is a JSON Schema or a part of one.
type schema struct {
	Schema               string              `json:"$schema,omitempty"`
	Title                string              `json:"title,omitempty"`
	Ref                  string              `json:"$ref,omitempty"`
	Description          string              `json:"description,omitempty"`
	Type                 any                 `json:"type,omitempty"` // a text or several
	Enum                 []any               `json:"enum,omitempty"`
	Const                any                 `json:"const,omitempty"`
	Default              any                 `json:"default,omitempty"`
	Pattern              string              `json:"pattern,omitempty"`
	PatternErrorMessage  string              `json:"patternErrorMessage,omitempty"` // for editors; no part of the standard
	MinLength            int                 `json:"minLength,omitempty"`
	Minimum              *int64              `json:"minimum,omitempty"`
	Maximum              *int64              `json:"maximum,omitempty"`
	Items                *schema             `json:"items,omitempty"`
	MinItems             int                 `json:"minItems,omitempty"`
	Properties           properties          `json:"properties,omitempty"`
	AdditionalProperties *bool               `json:"additionalProperties,omitempty"`
	Required             []string            `json:"required,omitempty"`
	DependentRequired    map[string][]string `json:"dependentRequired,omitempty"`
	AllOf                []*schema           `json:"allOf,omitempty"`
	AnyOf                []*schema           `json:"anyOf,omitempty"`
	OneOf                []*schema           `json:"oneOf,omitempty"`
	Not                  *schema             `json:"not,omitempty"`
	If                   *schema             `json:"if,omitempty"`
	Then                 *schema             `json:"then,omitempty"`
	Defs                 map[string]*schema  `json:"$defs,omitempty"`
}

// properties keep the order of the struct. A nil schema is one that nothing satisfies.
type properties []property

type property struct {
	key    string
	schema *schema
}

// MarshalJSON writes an object in the order of the properties.
func (p properties) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, one := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		text := []byte("false")
		if one.schema != nil {
			var err error
			if text, err = json.Marshal(one.schema); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&b, "%q:%s", one.key, text)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// schemaBuilder makes each struct type below System one definition.
type schemaBuilder struct {
	source *sourceText
	defs   map[string]*schema
}

// object describes a struct. What v holds are the defaults.
func (b *schemaBuilder) object(v reflect.Value) *schema {
	t := v.Type()
	closed := false
	o := &schema{
		Description: b.source.describe(t, b.source.types[t.Name()]),
		Type:        orNothing("object"), AdditionalProperties: &closed,
		Required: requiredKeys()[t.Name()],
	}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		one := b.value(v.Field(i))
		if comment := b.source.fields[t.Name()+"."+t.Field(i).Name]; comment != "" {
			one.Description = b.source.describe(t, comment)
		}
		constrain(one, t.Name()+"."+key, slices.Contains(o.Required, key))
		o.Properties = append(o.Properties, property{key, one})
	}
	conditions(o, t.Name())
	return o
}

// value describes a field or an item.
func (b *schemaBuilder) value(v reflect.Value) *schema {
	t := v.Type()
	s := &schema{Description: b.source.types[t.Name()], Default: shown(v)}
	switch allowed := b.source.constants[t.Name()]; {
	case t == reflect.TypeFor[Compression]():
		s.Enum = append(allowed, true, false)
		return s
	case len(allowed) > 0:
		s.Enum = allowed
		return s
	}
	switch v.Interface().(type) {
	case Duration:
		s.Type = orNothing("string")
		return s.like(durationPattern, "write 45s, 30m, 1h30m or 30d")
	case Bytes:
		s.Type, s.Minimum = orNothing("string", "integer"), number(0)
		return s.like(bytesPattern(), "write a number of bytes, 64MiB or 1GB")
	case Date:
		s.Type = orNothing("string")
		return s.like(datePattern, "write 2024-01-31")
	case SecretRef:
		s.Type = orNothing("string")
		return s.like(secretPattern, "write env:NAME or file:/path; a secret itself never stands in this file")
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, made := b.defs[t.Name()]; !made {
			b.defs[t.Name()] = b.object(v)
		}
		return &schema{Ref: "#/$defs/" + t.Name()}
	case reflect.Pointer:
		return b.value(reflect.Zero(t.Elem()))
	case reflect.Slice:
		item := reflect.Zero(t.Elem())
		if v.Len() > 0 {
			item = v.Index(0)
		}
		s.Type, s.Items = orNothing("array"), b.value(item)
		if s.Items.Ref == "" {
			s.Items.Description = ""
		} else {
			s.Description = b.defs[t.Elem().Name()].Description
		}
		if item.Kind() == reflect.String {
			constrain(s.Items, "", true)
		}
		s.Default = nil
	case reflect.Bool:
		s.Type = orNothing("boolean")
	case reflect.Int, reflect.Int64:
		s.Type = orNothing("integer")
	default:
		s.Type = orNothing("string")
	}
	return s
}

// like demands a shape of a text, and says how to write it.
func (s *schema) like(pattern, hint string) *schema {
	s.Pattern, s.PatternErrorMessage = pattern, hint
	return s
}

// orNothing lets a key with nothing behind it count as one that is not there, as the loader does.
func orNothing(types ...string) any { return append(types, "null") }

func number(n int64) *int64 { return &n }

// shown gives a default as a file would say it; nil for none.
func shown(v reflect.Value) any {
	if v.IsZero() {
		return nil
	}
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		if raw, err := text.MarshalText(); err == nil {
			return string(raw)
		}
	}
	switch v.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		return v.Interface()
	default:
		return nil
	}
}

// defaulted is a system with one of everything, and nothing said of any.
func defaulted() System {
	s := blank()
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.Slice {
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		}
	}
	s.Checks[0].Kind = CheckHTTP         // the others expect no status
	s.Targets[0].Kind = TargetProduction // a sandbox keeps nothing to undo
	s.applyDefaults()
	s.Checks[0].Kind, s.Targets[0].Kind = "", ""
	s.Limits.Parallel = 0 // another on each host
	return s
}
