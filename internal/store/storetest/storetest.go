// Package storetest holds every store to the contract of store.Store.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Run holds the store that open makes to the contract. open is called once per
// subtest and gives an empty store on a versioned bucket.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, store.Store){
		"a body of any size comes back":                   bodyOfAnySize,
		"a body is not kept after the return":             bodyNotKept,
		"what was put describes itself":                   described,
		"an object that is not there is missing":          missing,
		"if-none-match never replaces":                    neverReplaces,
		"of many writers of one key exactly one wins":     oneWinner,
		"a range is exactly what was asked for":           ranges,
		"a range past the end is refused":                 rangePastEnd,
		"a put without a condition makes a new version":   newVersion,
		"a hidden object is missing and can be put again": hidden,
		"a deleted version is gone for good":              versionGone,
		"a listing is in order and complete":              listing,
		"a listing of one level gives prefixes once":      oneLevel,
		"a listing starts after a key":                    startAfter,
		"a listing may be left early":                     leftEarly,
		"a bad key is refused":                            badKeys,
		"an ended context ends the call":                  endedContext,
		"calls may be made at once":                       atOnce,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func put(t *testing.T, s store.Store, key string, body []byte) store.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, body, store.PutOptions{})
	require.NoError(t, err)
	return info
}

func get(t *testing.T, s store.Store, key string) []byte {
	t.Helper()
	body, info, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	whole, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.EqualValues(t, len(whole), info.Size)
	return whole
}

func random(size int) []byte {
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	_, _ = source.Read(body) // never fails
	return body
}

func kindIs(t *testing.T, kind fault.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fault.KindOf(err), "%v", err)
}

func bodyOfAnySize(t *testing.T, s store.Store) {
	for _, size := range []int{0, 1, 4095, 1 << 20, 17<<20 + 3} {
		key := fmt.Sprintf("bodies/%d", size)
		put(t, s, key, random(size))
		require.True(t, bytes.Equal(random(size), get(t, s, key)), "%d bytes", size)
	}
}

func bodyNotKept(t *testing.T, s store.Store) {
	body := random(1000)
	put(t, s, "kept", body)
	clear(body)
	require.True(t, bytes.Equal(random(1000), get(t, s, "kept")))
}

func described(t *testing.T, s store.Store) {
	made := put(t, s, "described/one", random(10))
	require.Equal(t, "described/one", made.Key)
	require.EqualValues(t, 10, made.Size)
	require.NotEmpty(t, made.ETag)
	require.NotEmpty(t, made.Version)
	head, err := s.Head(t.Context(), "described/one")
	require.NoError(t, err)
	require.False(t, head.Modified.IsZero())
	require.Equal(t, made.ETag, head.ETag)
	require.Equal(t, made.Version, head.Version)
	require.Equal(t, made.Size, head.Size)
	require.Equal(t, made.Key, head.Key)
	require.NotEmpty(t, s.Name())
}

func missing(t *testing.T, s store.Store) {
	put(t, s, "there/object", nil)
	for _, key := range []string{"nothing", "there/nothing", "there"} {
		_, err := s.Head(t.Context(), key)
		kindIs(t, fault.ObjectMissing, err)
		_, _, err = s.Get(t.Context(), key)
		kindIs(t, fault.ObjectMissing, err)
		_, err = s.GetRange(t.Context(), key, 0, 1)
		kindIs(t, fault.ObjectMissing, err)
	}
	require.NoError(t, s.Delete(t.Context(), "nothing", ""))
	require.Empty(t, keys(t, s, "nothing/", store.ListOptions{}))
}

func neverReplaces(t *testing.T, s store.Store) {
	_, err := s.Put(t.Context(), "once", []byte("first"), store.PutOptions{IfNoneMatch: true})
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "once", []byte("second"), store.PutOptions{IfNoneMatch: true})
	kindIs(t, fault.ObjectExists, err)
	require.Equal(t, "first", string(get(t, s, "once")))
}

func oneWinner(t *testing.T, s store.Store) {
	const writers = 16
	won := make([]bool, writers)
	var group errgroup.Group
	for i := range writers {
		group.Go(func() error {
			_, err := s.Put(t.Context(), "race", fmt.Append(nil, i), store.PutOptions{IfNoneMatch: true})
			won[i] = err == nil
			if fault.Has(err, fault.ObjectExists) {
				return nil
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	winner := -1
	for i := range won {
		if won[i] {
			require.Equal(t, -1, winner, "two writers won")
			winner = i
		}
	}
	require.Equal(t, fmt.Sprint(winner), string(get(t, s, "race")))
}

func ranges(t *testing.T, s store.Store) {
	body := random(100_000)
	put(t, s, "ranged", body)
	for _, part := range [][2]int64{{0, 1}, {0, 100_000}, {99_999, 1}, {500, 70_000}} {
		reader, err := s.GetRange(t.Context(), "ranged", part[0], part[1])
		require.NoError(t, err)
		got, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		require.True(t, bytes.Equal(body[part[0]:part[0]+part[1]], got), "%v", part)
	}
}

func rangePastEnd(t *testing.T, s store.Store) {
	put(t, s, "short", random(100))
	for _, part := range [][2]int64{{99, 2}, {100, 1}, {0, 101}, {5000, 10}} {
		_, err := s.GetRange(t.Context(), "short", part[0], part[1])
		kindIs(t, fault.IntegrityError, err)
	}
	for _, part := range [][2]int64{{-1, 2}, {0, 0}, {0, -1}} {
		_, err := s.GetRange(t.Context(), "short", part[0], part[1])
		kindIs(t, fault.InputInvalid, err)
	}
}

func newVersion(t *testing.T, s store.Store) {
	first := put(t, s, "versions", []byte("first"))
	second := put(t, s, "versions", []byte("second"))
	require.NotEqual(t, first.Version, second.Version)
	require.Equal(t, "second", string(get(t, s, "versions")))
}

func hidden(t *testing.T, s store.Store) {
	put(t, s, "hidden", []byte("first"))
	require.NoError(t, s.Delete(t.Context(), "hidden", ""))
	_, err := s.Head(t.Context(), "hidden")
	kindIs(t, fault.ObjectMissing, err)
	require.Empty(t, keys(t, s, "hidden", store.ListOptions{}))
	put(t, s, "hidden", []byte("second"))
	require.Equal(t, "second", string(get(t, s, "hidden")))
}

func versionGone(t *testing.T, s store.Store) {
	first := put(t, s, "gone", []byte("first"))
	second := put(t, s, "gone", []byte("second"))
	require.NoError(t, s.Delete(t.Context(), "gone", second.Version))
	require.Equal(t, "first", string(get(t, s, "gone")))
	require.NoError(t, s.Delete(t.Context(), "gone", first.Version))
	_, err := s.Head(t.Context(), "gone")
	kindIs(t, fault.ObjectMissing, err)
	require.NoError(t, s.Delete(t.Context(), "gone", first.Version))
}

func keys(t *testing.T, s store.Store, prefix string, opts store.ListOptions) []string {
	t.Helper()
	var found []string
	for info, err := range s.List(t.Context(), prefix, opts) {
		require.NoError(t, err)
		require.Equal(t, opts.Delimiter != "" && info.Key[len(info.Key)-1] == '/', info.IsPrefix)
		found = append(found, info.Key)
	}
	return found
}

func listing(t *testing.T, s store.Store) {
	const objects = 1_050 // a page of S3 has 1,000
	var want []string
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range objects {
		key := fmt.Sprintf("many/%05d", i)
		want = append(want, key)
		group.Go(func() error {
			_, err := s.Put(ctx, key, nil, store.PutOptions{})
			return err
		})
	}
	require.NoError(t, group.Wait())
	put(t, s, "mane", nil)
	put(t, s, "manz", nil)
	require.Equal(t, want, keys(t, s, "many/", store.ListOptions{}))
	require.Equal(t, want[1000:], keys(t, s, "many/", store.ListOptions{StartAfter: want[999]}))
}

func oneLevel(t *testing.T, s store.Store) {
	for _, key := range []string{"level/b", "level/a/1", "level/a/2", "level/c/d/e", "level/z"} {
		put(t, s, key, []byte("x"))
	}
	require.Equal(t, []string{"level/a/", "level/b", "level/c/", "level/z"}, keys(t, s, "level/", store.ListOptions{Delimiter: "/"}))
	require.Equal(t, []string{"level/"}, keys(t, s, "", store.ListOptions{Delimiter: "/"}))
	require.Equal(t, []string{"level/a/1", "level/a/2"}, keys(t, s, "level/a", store.ListOptions{}))
}

func startAfter(t *testing.T, s store.Store) {
	for _, key := range []string{"after/a", "after/b", "after/c/x", "after/d"} {
		put(t, s, key, nil)
	}
	require.Equal(t, []string{"after/b", "after/c/x", "after/d"}, keys(t, s, "after/", store.ListOptions{StartAfter: "after/a"}))
	require.Equal(t, []string{"after/c/", "after/d"}, keys(t, s, "after/", store.ListOptions{StartAfter: "after/b", Delimiter: "/"}))
	require.Equal(t, []string{"after/d"}, keys(t, s, "after/", store.ListOptions{StartAfter: "after/c/", Delimiter: "/"}))
	require.Empty(t, keys(t, s, "after/", store.ListOptions{StartAfter: "after/d"}))
}

func leftEarly(t *testing.T, s store.Store) {
	put(t, s, "early/1", nil)
	put(t, s, "early/2", nil)
	for info, err := range s.List(t.Context(), "early/", store.ListOptions{}) {
		require.NoError(t, err)
		require.Equal(t, "early/1", info.Key)
		break
	}
}

func badKeys(t *testing.T, s store.Store) {
	for _, key := range []string{"", "/a", "a/", "a//b", "a/../b", "./a", string(bytes.Repeat([]byte("k"), 1025))} {
		_, err := s.Put(t.Context(), key, nil, store.PutOptions{})
		kindIs(t, fault.InputInvalid, err)
		_, err = s.Head(t.Context(), key)
		kindIs(t, fault.InputInvalid, err)
	}
}

func endedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ctx, "ended", nil, store.PutOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = s.Get(ctx, "ended")
	require.ErrorIs(t, err, context.Canceled)
	for _, err = range s.List(ctx, "", store.ListOptions{}) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.ErrorIs(t, err, context.Canceled)
}

func atOnce(t *testing.T, s store.Store) {
	var group errgroup.Group
	for i := range 24 {
		group.Go(func() error {
			key, body := fmt.Sprintf("once/%d", i), random(200_000+i)
			if _, err := s.Put(t.Context(), key, body, store.PutOptions{IfNoneMatch: true}); err != nil {
				return err
			}
			reader, _, err := s.Get(t.Context(), key)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(reader)
			if err == nil && !bytes.Equal(body, got) {
				err = fmt.Errorf("%s came back different", key)
			}
			if closing := reader.Close(); err == nil {
				err = closing
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
}
