package main

import (
	"fmt"
	"strconv"
	"strings"
)

// lsn is a position in the WAL.
type lsn uint64

func parseLSN(text string) (lsn, error) {
	high, low, ok := strings.Cut(text, "/")
	if !ok {
		return 0, fmt.Errorf("%q is no WAL position", text)
	}
	upper, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no WAL position", text)
	}
	lower, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no WAL position", text)
	}
	return lsn(upper<<32 | lower), nil
}

func (l lsn) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xffffffff) }

// MarshalText and UnmarshalText give PostgreSQL's own form.
func (l lsn) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *lsn) UnmarshalText(text []byte) (err error) {
	*l, err = parseLSN(string(text))
	return err
}
