package walfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// LSN is a byte position in the WAL, written "0/3000148" by PostgreSQL and in
// JSON. Zero is no position at all (InvalidXLogRecPtr).
type LSN uint64

// ParseLSN reads "0/3000148": two hexadecimal halves of 32 bits each.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	if !found {
		return 0, fault.Newf(fault.InputInvalid, "read WAL position", strconv.Quote(text), "it has no slash")
	}
	upper, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fault.Newf(fault.InputInvalid, "read WAL position", strconv.Quote(text), "first half is not 32 bits in hexadecimal")
	}
	lower, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fault.Newf(fault.InputInvalid, "read WAL position", strconv.Quote(text), "second half is not 32 bits in hexadecimal")
	}
	return LSN(upper<<32 | lower), nil
}

// String writes the position as PostgreSQL does.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// MarshalText makes LSN readable in JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text is no position.
func (l *LSN) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = 0
		return nil
	}
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
