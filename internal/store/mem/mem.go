// Package mem is an object store in memory, for tests of logic that needs a
// store and no network. It keeps every version of an object, as the versioned
// buckets that Lifeboat asks for do, and passes the same suite as the S3 store.
package mem

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // an ETag, as S3 computes it; nothing is protected by it
	"encoding/hex"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

var _ store.Store = (*Store)(nil)

// Store is a versioned bucket in memory.
type Store struct {
	name string
	now  func() time.Time

	mu      sync.RWMutex
	objects map[string][]version
	serial  int
}

// version is one version of an object; the last of a key is the current one.
type version struct {
	info   store.Info
	body   []byte
	marker bool // a delete marker: the object is hidden, older versions stay
}

// New makes an empty store. name is what Name returns.
func New(name string) *Store { return NewAt(name, time.Now) }

// NewAt makes an empty store with a clock of its own.
func NewAt(name string, now func() time.Time) *Store {
	return &Store{name: name, now: now, objects: map[string][]version{}}
}

// Name identifies the store.
func (s *Store) Name() string { return s.name }

// Put stores a copy of body as a new version.
func (s *Store) Put(ctx context.Context, key string, body []byte, opts store.PutOptions) (store.Info, error) {
	if err := s.usable(ctx, "put", key); err != nil {
		return store.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.current(key); taken && opts.IfNoneMatch {
		return store.Info{}, s.fail(fault.ObjectExists, "put", key, nil)
	}
	sum := md5.Sum(body) //nolint:gosec // see the import
	info := store.Info{
		Key:      key,
		Size:     int64(len(body)),
		ETag:     `"` + hex.EncodeToString(sum[:]) + `"`,
		Version:  s.nextVersion(),
		Modified: s.now().UTC(),
	}
	s.objects[key] = append(s.objects[key], version{info: info, body: bytes.Clone(body)})
	return info, nil
}

// Get opens the current version.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	found, err := s.find(ctx, "get", key)
	if err != nil {
		return nil, store.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(found.body)), found.info, nil
}

// GetRange opens a part of the current version.
func (s *Store) GetRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	found, err := s.find(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	if err := store.CheckRange(s.name, key, off, length, found.info.Size); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(found.body[off : off+length])), nil
}

// Head describes the current version.
func (s *Store) Head(ctx context.Context, key string) (store.Info, error) {
	found, err := s.find(ctx, "head", key)
	return found.info, err
}

// List gives the current versions under prefix, as they were when it was called.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(store.Info{}, s.fail(fault.StorageUnavailable, "list", prefix, err))
			return
		}
		for _, info := range s.listing(prefix, opts) {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete hides the object ("") or removes one version for good.
func (s *Store) Delete(ctx context.Context, key, id string) error {
	if err := s.usable(ctx, "delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != "" {
		kept := slices.DeleteFunc(s.objects[key], func(v version) bool { return v.info.Version == id })
		if len(kept) == 0 {
			delete(s.objects, key)
		} else {
			s.objects[key] = kept
		}
		return nil
	}
	if _, found := s.current(key); found {
		s.objects[key] = append(s.objects[key], version{info: store.Info{Key: key, Version: s.nextVersion()}, marker: true})
	}
	return nil
}

func (s *Store) listing(prefix string, opts store.ListOptions) []store.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var infos []store.Info
	seen := map[string]bool{}
	for key := range s.objects {
		found, ok := s.current(key)
		if !ok || !strings.HasPrefix(key, prefix) || key <= opts.StartAfter {
			continue
		}
		info := found.info
		info.Version = ""
		if head, _, cut := strings.Cut(key[len(prefix):], opts.Delimiter); cut && opts.Delimiter != "" {
			info = store.Info{Key: prefix + head + opts.Delimiter, IsPrefix: true}
			if seen[info.Key] || info.Key <= opts.StartAfter {
				continue
			}
			seen[info.Key] = true
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

func (s *Store) find(ctx context.Context, op, key string) (version, error) {
	if err := s.usable(ctx, op, key); err != nil {
		return version{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found, ok := s.current(key)
	if !ok {
		return version{}, s.fail(fault.ObjectMissing, op, key, nil)
	}
	return found, nil
}

// current needs the lock.
func (s *Store) current(key string) (version, bool) {
	versions := s.objects[key]
	if len(versions) == 0 || versions[len(versions)-1].marker {
		return version{}, false
	}
	return versions[len(versions)-1], true
}

// nextVersion needs the lock.
func (s *Store) nextVersion() string {
	s.serial++
	return strconv.Itoa(s.serial)
}

func (s *Store) usable(ctx context.Context, op, key string) error {
	if err := store.CheckKey(s.name, op, key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return s.fail(fault.StorageUnavailable, op, key, err)
	}
	return nil
}

func (s *Store) fail(kind fault.Kind, op, key string, cause error) error {
	return fault.New(kind, op, store.Subject(s.name, key), cause)
}
