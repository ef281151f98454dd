package keys

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

const redacted = "[secret]"

// Secret is a configured secret. It shows itself to nobody: every way of
// formatting or encoding it gives "[secret]".
type Secret struct{ bytes []byte }

// NewSecret takes a secret as configured; white space around it is not part of it.
func NewSecret(raw []byte) Secret {
	return Secret{bytes: []byte(strings.TrimSpace(string(raw)))}
}

// Empty says whether there is no secret.
func (s Secret) Empty() bool { return len(s.bytes) == 0 }

// String hides the secret.
func (s Secret) String() string { return redacted }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return redacted }

// Format hides the secret from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText hides the secret, from YAML and map keys too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// parse32 reads 32 bytes in hex or in base64, standard or URL, padded or not.
func parse32(text string) ([]byte, bool) {
	if b, err := hex.DecodeString(text); err == nil && len(b) == keySize {
		return b, true
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := encoding.Strict().DecodeString(text); err == nil && len(b) == keySize {
			return b, true
		}
	}
	return nil, false
}
