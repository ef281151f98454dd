package store

import (
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// maxKey is the longest key, prefix included, that S3 takes, in bytes.
const maxKey = 1024

// Subject names an object of a store in an error: "wal/… in primary (…)".
func Subject(name, key string) string {
	if key == "" {
		return name
	}
	return key + " in " + name
}

// CheckKey refuses, with InputInvalid, a key that stores understand differently:
// an empty one, one that starts or ends with a slash, or has an empty, "." or ".." part.
func CheckKey(name, op, key string) error {
	if key == "" || len(key) > maxKey {
		return fault.Newf(fault.InputInvalid, op, Subject(name, key), "a key has 1 to %d bytes", maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fault.Newf(fault.InputInvalid, op, Subject(name, key), "a part of the key is empty, \".\" or \"..\"")
		}
	}
	return nil
}

// CheckRange refuses a range that is empty or negative with InputInvalid, and
// one that ends past the size of the object with IntegrityError: whoever asked
// knows of more bytes than there are.
func CheckRange(name, key string, off, length, size int64) error {
	if off < 0 || length <= 0 {
		return fault.Newf(fault.InputInvalid, "get", Subject(name, key), "range of %d bytes from %d", length, off)
	}
	if length > size-off {
		return fault.Newf(fault.IntegrityError, "get", Subject(name, key), "range of %d bytes from %d, but the object has %d", length, off, size)
	}
	return nil
}
