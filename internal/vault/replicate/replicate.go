// Package replicate copies a store to its replica in another region: what a
// manifest names before the manifest, WAL in its order, and never a deletion.
// It moves sealed bytes and needs no key.
package replicate

import (
	"context"
	"errors"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// Memory is a byte budget shared with everything else that buffers.
type Memory interface {
	Acquire(ctx context.Context, bytes int64) error
	Release(bytes int64)
}

// Config says what is copied where.
type Config struct {
	From     store.Store
	To       store.Store
	Memory   Memory
	Parallel int                     // transfers at once, of objects without an order; at least 1
	Progress func(done, total int64) // in bytes; may be nil
}

// Result says what was copied.
type Result struct {
	Objects int64
	Bytes   int64
	Present int64 // objects that were there already, with the right size
}

// Run copies every object that the replica lacks, and may be run again after
// any interruption. It fails with BackupConflict when the replica holds another
// object under a key: two stores were mixed, and a person has to look.
func Run(ctx context.Context, c Config) (Result, error) {
	// The manifests are listed first: whatever they name was stored before them,
	// so the second listing has it, even while backups go on.
	first, err := listing(ctx, c.From)
	if err != nil {
		return Result{}, err
	}
	second, err := listing(ctx, c.From)
	if err != nil {
		return Result{}, err
	}
	there, err := listing(ctx, c.To)
	if err != nil {
		return Result{}, err
	}
	have := make(map[string]int64, len(there))
	for _, info := range there {
		have[info.Key] = info.Size
	}
	r := &copying{Config: c, have: have}
	loose, ordered, manifests := sorted(first, second)
	for _, group := range [][]store.Info{loose, ordered, manifests} {
		for _, info := range group {
			r.total += info.Size
		}
	}
	if err := r.all(ctx, loose, max(1, c.Parallel)); err != nil {
		return r.result, err
	}
	if err := r.all(ctx, ordered, 1); err != nil {
		return r.result, err
	}
	return r.result, r.all(ctx, manifests, 1)
}

// sorted splits what is to be copied: objects in any order, objects whose order
// counts (WAL and ledger, whose keys sort by age), and manifests.
func sorted(first, second []store.Info) (loose, ordered, manifests []store.Info) {
	for _, info := range first {
		if isManifest(info.Key) {
			manifests = append(manifests, info)
		}
	}
	for _, info := range second {
		switch {
		case isManifest(info.Key):
		case strings.HasPrefix(info.Key, "wal/"), strings.HasPrefix(info.Key, "ledger/"):
			ordered = append(ordered, info)
		default:
			loose = append(loose, info)
		}
	}
	return loose, ordered, manifests
}

func isManifest(key string) bool { return strings.HasSuffix(key, "/manifest") }

func listing(ctx context.Context, s store.Store) ([]store.Info, error) {
	var all []store.Info
	for info, err := range s.List(ctx, "", store.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(info.Key, store.ProbeFolder) {
			all = append(all, info)
		}
	}
	return all, nil
}

type copying struct {
	Config
	have   map[string]int64
	result Result
	done   int64
	total  int64
}

func (r *copying) all(ctx context.Context, objects []store.Info, parallel int) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	results := make(chan outcome, parallel)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for o := range results {
			r.count(o)
		}
	}()
	for _, info := range objects {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			o, err := r.one(groupCtx, info)
			if err == nil {
				results <- o
			}
			return err
		})
	}
	err := group.Wait()
	close(results)
	<-counted
	if err != nil {
		return err
	}
	return ctx.Err()
}

type outcome struct {
	size    int64
	present bool
}

func (r *copying) count(o outcome) {
	r.done += o.size
	if o.present {
		r.result.Present++
	} else {
		r.result.Objects++
		r.result.Bytes += o.size
	}
	if r.Progress != nil {
		r.Progress(r.done, r.total)
	}
}

func (r *copying) one(ctx context.Context, info store.Info) (outcome, error) {
	if size, ok := r.have[info.Key]; ok {
		if size != info.Size {
			return outcome{}, r.conflict(info.Key)
		}
		return outcome{size: info.Size, present: true}, nil
	}
	if err := r.Memory.Acquire(ctx, info.Size); err != nil {
		return outcome{}, err
	}
	defer r.Memory.Release(info.Size)
	reader, found, err := r.From.Get(ctx, info.Key)
	if err != nil {
		return outcome{}, err
	}
	defer reader.Close()
	body := make([]byte, found.Size)
	if _, err := io.ReadFull(reader, body); err != nil {
		if fault.KindOf(err) != "" {
			return outcome{}, err
		}
		return outcome{}, fault.New(fault.StorageUnavailable, "read object", r.From.Name()+" "+info.Key, err)
	}
	_, err = r.To.Put(ctx, info.Key, body, store.PutOptions{IfNoneMatch: true})
	if errors.Is(err, fault.ObjectExists.Err()) { // another copy was faster, or our acknowledgement was lost
		there, headErr := r.To.Head(ctx, info.Key)
		if headErr != nil {
			return outcome{}, headErr
		}
		if there.Size != found.Size {
			return outcome{}, r.conflict(info.Key)
		}
		return outcome{size: found.Size, present: true}, nil
	}
	return outcome{size: found.Size}, err
}

func (r *copying) conflict(key string) error {
	return fault.Newf(fault.BackupConflict, "replicate", key, "%s holds another object under this key", r.To.Name()).
		WithHint("find out who else writes to this replica before anything else; nothing was overwritten")
}
