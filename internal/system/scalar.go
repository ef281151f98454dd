package system

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Std gives the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes whole days as "30d" and all else as "1h30m", without zero units.
func (d Duration) String() string {
	std := time.Duration(d)
	if std != 0 && std%day == 0 {
		return strconv.FormatInt(int64(std/day), 10) + "d"
	}
	text := std.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Brief writes a duration as a person says it: "0.4s", "41.2s", "3m12s".
func (d Duration) Brief() string {
	std := max(0, time.Duration(d))
	if std < time.Minute {
		return fmt.Sprintf("%.1fs", std.Seconds())
	}
	return Duration(std.Round(time.Second)).String()
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "1h30m", "45s" or "30d"; days may stand before other units: "1d12h".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// UnmarshalJSON reads a text; a number is refused, since nobody can tell its unit.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	return unmarshalText(raw, d.UnmarshalText, `a duration is written as text with a unit: "30m"`)
}

// ParseDuration reads what Duration writes. A configuration refuses what is
// negative; a measured duration may be, when clocks differ.
func ParseDuration(text string) (Duration, error) {
	refused := fmt.Errorf("%q is not a duration: write 45s, 30m, 1h30m or 30d", text)
	rest, negative := strings.CutPrefix(text, "-")
	var days time.Duration
	if head, tail, ok := strings.Cut(rest, "d"); ok {
		count, err := strconv.ParseUint(head, 10, 32)
		if err != nil || count > uint64(math.MaxInt64/int64(day)) {
			return 0, refused
		}
		rest, days = tail, time.Duration(count)*day
		if rest == "" {
			rest = "0"
		}
	}
	std, err := time.ParseDuration(rest)
	if err != nil || strings.ContainsAny(rest, "+-") || days > math.MaxInt64-std {
		return 0, refused
	}
	if negative {
		return Duration(-days - std), nil
	}
	return Duration(days + std), nil
}

// String writes the largest binary unit that divides the size: "192MiB".
func (b Bytes) String() string {
	for _, unit := range byteUnits() {
		if unit.binary && b != 0 && int64(b)%unit.size == 0 {
			return strconv.FormatInt(int64(b)/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Human writes the size for a person, rounded: "1.9 GiB".
func (b Bytes) Human() string {
	for _, unit := range byteUnits() {
		if unit.binary && int64(b) >= unit.size {
			return strconv.FormatFloat(float64(b)/float64(unit.size), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// MarshalText writes String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads "192MiB", "1GB" or a number of bytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	refused := fmt.Errorf("%q is not a size: write a number of bytes, 64MiB or 1GB", text)
	number, size := strings.TrimSpace(string(text)), int64(1)
	for _, unit := range byteUnits() {
		if head, ok := strings.CutSuffix(number, unit.name); ok {
			number, size = strings.TrimSpace(head), unit.size
			break
		}
	}
	count, err := strconv.ParseInt(number, 10, 64)
	if err != nil || count < 0 || count > math.MaxInt64/size {
		return refused
	}
	*b = Bytes(count * size)
	return nil
}

// UnmarshalJSON reads a text or a number of bytes.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] != '"' && string(raw) != "null" {
		return b.UnmarshalText(raw)
	}
	return unmarshalText(raw, b.UnmarshalText, `a size is a number of bytes or text: "64MiB"`)
}

type byteUnit struct {
	name   string
	size   int64
	binary bool
}

// byteUnits lists longer names before the names that end them.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", 1 << 40, true},
		{"GiB", 1 << 30, true},
		{"MiB", 1 << 20, true},
		{"KiB", 1 << 10, true},
		{"TB", 1e12, false},
		{"GB", 1e9, false},
		{"MB", 1e6, false},
		{"kB", 1e3, false},
		{"B", 1, false},
	}
}

// NewDate gives a calendar day in UTC.
func NewDate(year int, month time.Month, dayOfMonth int) Date {
	return Date{time.Date(year, month, dayOfMonth, 0, 0, 0, 0, time.UTC)}
}

// String writes 2024-01-31, or nothing for the zero Date.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

// MarshalText writes String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalJSON writes String, and keeps time.Time's own codec from being used.
func (d Date) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalText reads 2024-01-31; nothing is the zero Date.
func (d *Date) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Date{}
		return nil
	}
	parsed, err := time.ParseInLocation(time.DateOnly, string(text), time.UTC)
	if err != nil {
		return fmt.Errorf("%q is not a calendar day: write 2024-01-31", text)
	}
	*d = Date{parsed}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Date) UnmarshalJSON(raw []byte) error {
	return unmarshalText(raw, d.UnmarshalText, `a day is written as text: "2024-01-31"`)
}

// UnmarshalText reads zstd, gzip or none; true is zstd and false is none, as in DB_BACKUP_COMPRESSION.
func (c *Compression) UnmarshalText(text []byte) error {
	switch value := Compression(text); value {
	case CompressionZstd, CompressionGzip, CompressionNone:
		*c = value
	case "true":
		*c = CompressionZstd
	case "false":
		*c = CompressionNone
	default:
		return fmt.Errorf("%q is no compression: write zstd, gzip or none", text)
	}
	return nil
}

// unmarshalText hands a JSON string to read; null leaves the value as it is.
func unmarshalText(raw []byte, read func([]byte) error, refusal string) error {
	if string(raw) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("%s is not allowed: %s", raw, refusal)
	}
	return read([]byte(text))
}
