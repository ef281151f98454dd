package wal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal/local"
)

const (
	spoolFiles = 7               // segments that are fetched beside the one that is asked for
	spoolReads = 4               // of them at once
	spoolGrace = 3 * time.Second // that they get after that one has come
)

// FetchAhead is Fetch and, beside it, brings the segments behind the one that is
// asked for into the spool. Only that one decides what it returns: one of the
// others that does not come, or has no room, is fetched when it is asked for.
func (a *Archive) FetchAhead(ctx context.Context, pin Pin, name, dst string, spool Spool) error {
	next := next(spool, pin, name)
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
func next(s Spool, pin Pin, name string) []string {
	if !postgres.IsSegment(name) || pin.Admits(name) != nil {
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
	if err := os.Mkdir(s.Dir(), 0o700); err != nil && !os.IsExist(err) {
		return nil
	}
	if info, err := os.Lstat(s.Dir()); err != nil || !info.IsDir() {
		return nil
	}
	entries, err := os.ReadDir(s.Dir())
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
		if entry.Name() == local.SpoolLock {
			continue
		}
		if wanted[segment] && len(sum) == local.SumDigits {
			here[segment] = true
			continue
		}
		if os.Remove(filepath.Join(s.Dir(), entry.Name())) != nil {
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
	return local.Place(body, filepath.Join(spool.Dir(), local.Spooled(name, body)))
}
