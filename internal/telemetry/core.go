package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// core takes secrets out of whatever is logged: the message, the stack, and
// every text inside a field, however deep. Fields of a With are kept as they are
// until a line is written, so that a secret that became known since is found.
type core struct {
	zapcore.Core
	secrets *Secrets
	with    []zapcore.Field
}

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{Core: c.Core, secrets: c.secrets, with: slices.Concat(c.with, fields)}
}

func (c *core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	entry.Message = c.secrets.Redact(entry.Message)
	entry.Stack = c.secrets.Redact(entry.Stack)
	clean := make([]zapcore.Field, 0, len(c.with)+len(fields))
	for _, field := range slices.Concat(c.with, fields) {
		clean = c.append(clean, field)
	}
	return c.Core.Write(entry, clean)
}

// append adds a field without its secrets. One field may become several, as an
// error does that has causes.
func (c *core) append(clean []zapcore.Field, field zapcore.Field) []zapcore.Field {
	switch field.Type {
	case zapcore.BoolType, zapcore.DurationType, zapcore.Float64Type, zapcore.Float32Type, zapcore.TimeType, zapcore.TimeFullType, zapcore.NamespaceType, zapcore.SkipType,
		zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type, zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type:
		return append(clean, field)
	}
	shown := zapcore.NewMapObjectEncoder()
	field.AddTo(shown)
	for _, name := range slices.Sorted(maps.Keys(shown.Fields)) {
		clean = append(clean, zap.Any(name, c.value(name, shown.Fields[name])))
	}
	return clean
}

// value is what a field holds, without secrets. What is called a secret is one.
func (c *core) value(name string, held any) any {
	switch held := held.(type) {
	case nil, bool, int, int64, int32, int16, int8, uint, uint64, uint32, uint16, uint8, float64, float32, time.Duration, time.Time, json.Number:
		return held
	case string:
		if secretName(name) && held != "" && !reference(held) {
			return redacted
		}
		return c.secrets.Redact(held)
	case []byte:
		return c.value(name, string(held))
	case []any:
		clean := make([]any, len(held))
		for i := range held {
			clean[i] = c.value(name, held[i])
		}
		return clean
	case map[string]any:
		clean := make(map[string]any, len(held))
		for inner := range held {
			clean[inner] = c.value(inner, held[inner])
		}
		return clean
	case error:
		return c.secrets.Redact(held.Error())
	default:
		return c.value(name, plain(held))
	}
}

// plain is any other value as JSON shows it.
func plain(held any) any {
	text, err := json.Marshal(held)
	if err != nil {
		return fmt.Sprint(held)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var shown any
	if err := decoder.Decode(&shown); err != nil {
		return string(text)
	}
	return shown
}

// secretName says whether a field's name says that a secret is in it.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"password", "passphrase", "secret", "authorization", "token"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
