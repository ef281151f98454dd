package replicate

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

// copying is one run at work.
type copying struct {
	Config
	result Result
	done   int64
	total  int64

	unfinished map[string]bool // backups that had no manifest when all of the store was looked at, with a slash at the end
}

// compare walks both stores side by side, in the order of keys, and gives what
// the replica lacks of the wanted keys under prefix and behind after. What it has
// is counted; a different size is a conflict.
func (r *copying) compare(ctx context.Context, prefix, after string, wanted func(key string) bool, lacking func(store.Info)) error {
	return join(ctx, r.From, r.To, prefix, after, func(info, there store.Info, present bool) error {
		switch {
		case !wanted(info.Key):
		case !present:
			lacking(info)
		case there.Size != info.Size:
			return r.conflict(info.Key)
		default:
			r.result.Present++
		}
		return nil
	})
}

// join gives each object of from with the one of to under the same key, if there is one.
func join(ctx context.Context, from, to store.Store, prefix, after string, each func(info, there store.Info, present bool) error) error {
	options := store.ListOptions{StartAfter: after}
	next, stop := iter.Pull2(to.List(ctx, prefix, options))
	defer stop()
	there, err, more := next()
	for info, listErr := range from.List(ctx, prefix, options) {
		if listErr != nil {
			return listErr
		}
		if strings.HasPrefix(info.Key, store.ProbeFolder) || strings.HasSuffix(info.Key, "/expired") {
			continue // they come and go
		}
		for more && err == nil && there.Key < info.Key {
			there, err, more = next()
		}
		if more && err != nil {
			return err
		}
		if err := each(info, there, more && there.Key == info.Key); err != nil {
			return err
		}
	}
	return nil
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
	info    store.Info
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
		r.result.Lag = max(r.result.Lag, r.Now().Sub(o.info.Modified))
	}
	if r.Progress != nil {
		r.Progress(r.done, r.total)
	}
}

func (r *copying) one(ctx context.Context, info store.Info) (outcome, error) {
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
		return outcome{info: info, size: found.Size, present: true}, nil
	}
	return outcome{info: info, size: found.Size}, err
}

func (r *copying) conflict(key string) error {
	return fault.Newf(fault.BackupConflict, "replicate", key, "%s holds another object under this key", r.To.Name()).
		WithHint("find out who else writes to this replica before anything else; nothing was overwritten")
}
