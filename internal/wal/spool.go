package wal

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/postgres"
)

const (
	spoolFiles = 7               // segments that are fetched beside the one that is asked for
	spoolReads = 4               // of them at once
	spoolGrace = 3 * time.Second // that they get after that one has come
)

// Spool keeps, beside a pin, the segments that its recovery will ask for next. A
// file's name holds a checksum of its content: one that a crash left half written
// is never served. The folder goes with the pin's.
type Spool struct{ dir string }

// SpoolOf is the spool of the recovery whose pin that is. It is made on first use.
func SpoolOf(pinFile string) Spool {
	return Spool{dir: filepath.Join(filepath.Dir(pinFile), "wal-spool")}
}

// Take gives a segment out of the spool, whole or not at all, under the rules of
// Fetch. Without an error and not taken, it has to be fetched.
func (s Spool) Take(pin Pin, name, dst string) (taken bool, err error) {
	if !postgres.IsSegment(name) {
		return false, nil
	}
	if err := pin.admits(name); err != nil {
		return false, err
	}
	for _, path := range s.holds(name) {
		body, err := os.ReadFile(path)
		if err != nil || filepath.Base(path) != spooled(name, body) {
			continue
		}
		if found, err := inspect(name, body); err != nil || found.systemID != pin.SystemID {
			continue
		}
		if os.Rename(path, dst) == nil {
			return true, nil
		}
		return true, place(body, dst) // pg_wal lies on another file system
	}
	return false, nil
}

// spooled is the name of a segment's file in the spool: its own, and the CRC-32C of
// its content. What a keyed MAC has proven is held against a crash alone here; who may
// write here may write what PostgreSQL reads, too.
func spooled(name string, body []byte) string {
	return fmt.Sprintf("%s.%0*x", name, sumDigits, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

const sumDigits = 8

// holds lists what is in the spool of a segment.
func (s Spool) holds(name string) []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), name+".") && entry.Type().IsRegular() {
			paths = append(paths, filepath.Join(s.dir, entry.Name()))
		}
	}
	return paths
}

// FetchAhead is Fetch and, beside it, brings the segments behind the one that is
// asked for into the spool. Only that one decides what it returns: one of the
// others that does not come, or has no room, is fetched when it is asked for.
func (a *Archive) FetchAhead(ctx context.Context, pin Pin, name, dst string, spool Spool) error {
	next := spool.next(pin, name)
	if len(next) == 0 || a.serves(pin, name) != nil {
		return a.Fetch(ctx, pin, name, dst)
	}
	ahead, cancel := context.WithCancel(ctx)
	defer cancel()
	var fetching errgroup.Group
	fetching.SetLimit(spoolReads)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, one := range next {
			fetching.Go(func() error { return a.spool(ahead, pin, one, spool) })
		}
		_ = fetching.Wait() // what did not come is asked for again
	}()
	err := a.Fetch(ctx, pin, name, dst)
	if err != nil {
		cancel()
	}
	grace := time.AfterFunc(spoolGrace, cancel)
	defer grace.Stop()
	<-done
	return err
}

// next empties the spool of all but what the recovery asks for after the named
// segment, and lists what is missing of that. There is none when the spool can't be made.
func (s Spool) next(pin Pin, name string) []string {
	if !postgres.IsSegment(name) || pin.admits(name) != nil {
		return nil
	}
	asked, err := postgres.ParseSegment(name, pin.SegmentSize)
	if err != nil {
		return nil
	}
	last, err := pin.Last()
	if err != nil {
		return nil
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil && !os.IsExist(err) {
		return nil
	}
	if info, err := os.Lstat(s.dir); err != nil || !info.IsDir() {
		return nil
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	wanted := map[string]bool{}
	var behind []string
	for number := asked.Number + 1; number <= min(asked.Number+spoolFiles, last.Number); number++ {
		segment := pin.At(number).Name(pin.SegmentSize)
		wanted[segment] = true
		behind = append(behind, segment)
	}
	here := map[string]bool{}
	for _, entry := range entries {
		segment, sum, _ := strings.Cut(entry.Name(), ".")
		if entry.Name() == spoolLock {
			continue
		}
		if wanted[segment] && len(sum) == sumDigits {
			here[segment] = true
			continue
		}
		if os.Remove(filepath.Join(s.dir, entry.Name())) != nil {
			return nil // a spool that can't be kept small is not filled
		}
	}
	return slices.DeleteFunc(behind, func(segment string) bool { return here[segment] })
}

// spool fetches a segment and keeps it.
func (a *Archive) spool(ctx context.Context, pin Pin, name string, spool Spool) error {
	body, err := a.segment(ctx, pin, name, a.cfg.Vault.GetSealed)
	if err != nil {
		return err
	}
	return place(body, filepath.Join(spool.dir, spooled(name, body)))
}
