package keys

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Base64 is bytes in clear JSON, read in the one form in which they are written:
// RFC 4648, section 4, padded. encoding/json would take line breaks, escapes and
// set padding bits as well, so that an altered text could still give the same bytes.
type Base64 []byte

var errBase64 = errors.New("not base64 in its canonical form")

// UnmarshalJSON reads a JSON string.
func (b *Base64) UnmarshalJSON(text []byte) error {
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(string(text), `"`))
	if err != nil || string(text) != `"`+encode(raw)+`"` {
		return errBase64
	}
	*b = raw
	return nil
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
