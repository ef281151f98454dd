package wal

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal/local"
)

// spoolAgain is after what time a segment that did not come is tried again.
const spoolAgain = time.Second

// KeepAhead fills a spool until ctx ends: with the segments behind the one that the
// recovery under the pin has asked for last, and at first with the pin's own first
// ones. It fetches while the server replays, where FetchAhead fetches while the
// server waits. What comes is held against its name, its header and its seal
// before it lies there, as by Fetch, and wal-fetch decides what the server is told:
// a segment that does not come is fetched, and its fault told, when it is asked for.
//
// own gives what it makes to the account that the server runs as; nil: it is this one's.
// One spool has one keeper; a second one ends at once.
func (a *Archive) KeepAhead(ctx context.Context, pin Pin, spool Spool, own func(*os.File) error) error {
	const op = "keep ahead in"
	if err := a.serves(pin, pin.Start); err != nil {
		return err
	}
	if err := os.Mkdir(spool.Dir(), 0o700); err != nil && !os.IsExist(err) {
		return fault.New(fault.PathFailed, op, spool.Dir(), err)
	}
	root, err := os.OpenRoot(spool.Dir()) // the account can change it at any time: nothing is written beside it
	if err != nil {
		return fault.New(fault.PathFailed, op, spool.Dir(), err)
	}
	defer func() { _ = root.Close() }() // nothing is lost with it
	k := &keeper{archive: a, pin: pin, root: root, own: own, flying: map[string]bool{}, failed: map[string]time.Time{}}
	lock, err := k.begin()
	if err != nil {
		return fault.New(fault.PathFailed, op, spool.Dir(), err)
	}
	if lock == nil {
		return nil
	}
	defer lock.Close() // and with it the lock
	defer k.fetching.Wait()
	watch := local.NewWatch(spool.Dir())
	defer watch.Close()
	for ctx.Err() == nil {
		if err := k.look(ctx); err != nil {
			return fault.New(fault.PathFailed, op, spool.Dir(), err)
		}
		watch.Wait(ctx)
	}
	return nil
}

// keeper keeps one spool.
type keeper struct {
	archive  *Archive
	pin      Pin
	root     *os.Root
	own      func(*os.File) error
	fetching sync.WaitGroup

	mu     sync.Mutex
	flying map[string]bool      // segments on their way
	failed map[string]time.Time // and those that did not come, and when
}

// begin owns the folder and takes its lock; nil: another one has it.
func (k *keeper) begin() (*os.File, error) {
	if err := k.gives("."); err != nil {
		return nil, err
	}
	lock, err := k.root.OpenFile(local.SpoolLock, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && k.own != nil {
		err = k.own(lock)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, lock.Close()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (k *keeper) gives(name string) error {
	if k.own == nil {
		return nil
	}
	file, err := k.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(k.own(file), file.Close())
}

// look removes what is of no use any more, and launches what comes next.
func (k *keeper) look(ctx context.Context) error {
	asked, wanted := k.wanted()
	folder, err := k.root.Open(".")
	if err != nil {
		return err
	}
	entries, err := folder.ReadDir(-1)
	if err := errors.Join(err, folder.Close()); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	here := map[string]bool{}
	for _, entry := range entries {
		segment, sum, _ := strings.Cut(entry.Name(), ".")
		switch {
		case entry.Name() == local.SpoolLock || strings.HasPrefix(entry.Name(), local.SpoolAsked) || k.flying[segment] || segment == asked:
		case !slices.Contains(wanted, segment):
			if err := k.root.Remove(entry.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		case len(sum) == local.SumDigits:
			here[segment] = true
		}
	}
	for _, segment := range wanted {
		if len(k.flying) >= spoolReads {
			return nil
		}
		if here[segment] || k.flying[segment] || time.Since(k.failed[segment]) < spoolAgain {
			continue
		}
		k.flying[segment] = true
		k.fetching.Go(func() { k.fetch(ctx, segment) })
	}
	return nil
}

// wanted are the segments that the recovery asks for next, in order: behind the
// one that was asked for last; with that one, as long as it is still waited for.
func (k *keeper) wanted() (asked string, wanted []string) {
	size := k.pin.SegmentSize
	last, err := k.pin.Last()
	if err != nil {
		return "", nil
	}
	first, err := postgres.ParseSegment(k.pin.Start, size)
	if err != nil {
		return "", nil
	}
	from := first.Number
	if text, err := k.root.ReadFile(local.SpoolAsked); err == nil {
		name, has := strings.CutSuffix(string(text), local.SpoolHas)
		if segment, err := postgres.ParseSegment(name, size); err == nil && k.pin.Admits(name) == nil {
			if asked, from = name, segment.Number; has {
				from++
			}
		}
	}
	for number := from; number <= min(from+spoolFiles-1, last.Number); number++ {
		wanted = append(wanted, k.pin.At(number).Name(size))
	}
	return asked, wanted
}

// fetch brings one segment into the spool, or leaves word that it did not come.
func (k *keeper) fetch(ctx context.Context, segment string) {
	room := k.archive.memory().Beside(int(k.pin.SegmentSize))
	defer k.archive.memory().Return(room)
	body, err := k.archive.segment(ctx, k.pin, segment, func(ctx context.Context, key string) ([]byte, error) {
		return k.archive.cfg.Vault.GetSealedInto(ctx, key, room)
	})
	if err == nil {
		err = k.keep(local.Spooled(segment, body), body)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.flying, segment)
	delete(k.failed, segment)
	if err != nil {
		k.failed[segment] = time.Now()
		_ = k.keep(segment+local.SpoolFailed, nil) // who waits for it waits a little longer
	}
}

// keep writes beside and renames.
func (k *keeper) keep(name string, body []byte) error {
	beside := name + local.BesideSuffix
	if err := k.root.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := k.root.OpenFile(beside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err == nil && k.own != nil {
		err = k.own(file)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = k.root.Rename(beside, name)
	}
	return err
}
