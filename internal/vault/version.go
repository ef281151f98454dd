package vault

import "github.com/frende/lifeboat/internal/keys"

// version is that of a sealed object. They differ in how contents are
// authenticated under the data key, and in nothing else: the second was made since a repeat
// backup spends most of its own time on it.
type version byte

const (
	hmacSHA256 version = 1
	blake3     version = 2

	newest = blake3 // what is written
)

// Domains of content.
const (
	plainMACDomain = "lifeboat plaintext 1"
	frameMACDomain = "lifeboat frame 1"
)

func (v version) known() bool { return v >= hmacSHA256 && v <= newest }

// mac is the MAC of content as objects of this version have it.
func (v version) mac(key *keys.DataKey, domain string, content []byte) [macSize]byte {
	if v == hmacSHA256 {
		return key.MAC(domain, content)
	}
	return key.ContentMAC(domain, content)
}

// frameMAC is what an index says of a frame's content.
func (v version) frameMAC(key *keys.DataKey, content []byte) [frameMACSize]byte {
	full := v.mac(key, frameMACDomain, content)
	return [frameMACSize]byte(full[:frameMACSize])
}
