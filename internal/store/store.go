// Package store is the contract for the object stores that hold backups. A key
// is a slash-separated path without a leading slash, and is never also the
// folder of another key. Objects are written once
// and never changed; s3 and mem implement the contract and storetest holds both
// to it.
package store

import (
	"context"
	"io"
	"iter"
	"time"
)

// Store is one bucket and prefix. All methods may be called concurrently, retry
// what is worth retrying themselves, and return errors from internal/fault:
// ObjectMissing, ObjectExists, StorageUnavailable, StorageDenied, StorageMissing.
type Store interface {
	// Name identifies the store to a person, without secrets:
	// "primary (s3://frende-db-backups in us-east-1)".
	Name() string

	// Put stores body under key, whole or not at all. body is not kept after
	// the return. With opts.IfNoneMatch it fails with ObjectExists when the key
	// is taken; when a lost acknowledgement made the store's own retry collide
	// with its first try, the answer is ObjectExists too, and the caller decides
	// by reading whether the object is its own.
	Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error)

	// Get opens the object. The reader fails with StorageUnavailable when the
	// stream ends before Info.Size bytes: a short read never looks like the end.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)

	// GetRange opens length bytes, at least one, from offset off, with the same
	// promise. A range that ends past the object is an IntegrityError.
	GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error)

	// Head describes the object.
	Head(ctx context.Context, key string) (Info, error)

	// List gives what lies under prefix in lexical order. With a delimiter, keys
	// that share the part up to it are given once, as an Info with IsPrefix.
	List(ctx context.Context, prefix string, opts ListOptions) iter.Seq2[Info, error]

	// Delete removes one version of the object for good. With version "" it
	// hides the object: its versions stay where the bucket keeps versions, and
	// servers differ on whether IfNoneMatch may put it again. An object that is
	// not there is no error.
	Delete(ctx context.Context, key, version string) error
}

// PutOptions say how an object is put.
type PutOptions struct {
	IfNoneMatch bool // fail when the key is taken
}

// ListOptions say what of a listing is wanted.
type ListOptions struct {
	Delimiter  string // "/" lists one level
	StartAfter string // only keys after this one
}

// Info describes an object, or a common prefix of a delimited listing. Listings
// leave Version empty.
type Info struct {
	Key      string
	Size     int64
	ETag     string
	Version  string
	Modified time.Time
	IsPrefix bool

	// What keeps this version from being deleted. Only Head tells, to who may ask for it.
	LockedUntil time.Time // Object Lock's retention
	LegalHold   bool
}
