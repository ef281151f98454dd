// Package keys makes, wraps and opens data keys, and signs.
//
// A Ring holds the wrapping keys that are configured: raw 32-byte secrets,
// passphrases, X25519 recipients and identities. A DataKey is random, belongs to
// one backup (or one day of WAL) and lies in the store as slots: one copy wrapped
// for each wrapping key. Whoever has any one of them opens it. Adding a wrapping
// key adds slots and rewrites no data.
//
// What is promised: a key that can't be opened fails with KeyUnavailable or
// KeyWrong and its id, a slot that was altered with IntegrityError; no secret
// appears in a log, an error or JSON. docs/FORMAT.md section 3 has the bytes.
package keys
