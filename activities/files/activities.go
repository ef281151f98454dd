package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/tree"
	"github.com/frende/lifeboat/internal/vault"
)

// Names of the streams of a backup, and its kind.
const (
	kind          = "tree"
	contentStream = "content" // contents of files; where each lies, the table says
	tableStream   = "table"   // tree.EncodeTable
)

// Deps are what the activities need of their host.
type Deps struct {
	// Vault opens the vault of a system. onFallback, when not nil, is told of
	// every object that the replica has to give; it may be called concurrently.
	Vault func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
}

// Activities back up and recover directories of files.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// choose opens a backup to recover from, of which all is there; key "" is the
// newest such of the component or, with before, the newest whose state is not newer.
func (a *Activities) choose(ctx context.Context, s system.System, key string, of vault.Filter, before time.Time) (vault.Opened, error) {
	opened, err := a.deps.Vault(ctx, s, (&fallbacks{}).add)
	if err != nil {
		return vault.Opened{}, err
	}
	switch {
	case key == "" && before.IsZero():
		return opened.OpenLatest(ctx, of)
	case key == "":
		return opened.OpenNewest(ctx, of, before, func(m *vault.Manifest) (bool, error) {
			var facts Facts
			err := m.Fact(FactsName, &facts)
			return !facts.Finished.After(before), err
		})
	}
	backup, err := opened.OpenWhole(ctx, key)
	return vault.Opened{Backup: backup}, err
}

// open opens the backup that was chosen.
func (a *Activities) open(ctx context.Context, s system.System, key string, fallbacks *fallbacks) (*vault.Backup, error) {
	opened, err := a.deps.Vault(ctx, s, fallbacks.add)
	if err != nil {
		return nil, err
	}
	return opened.Open(ctx, key)
}

// table reads the table of a backup.
func table(ctx context.Context, backup *vault.Backup) ([]tree.Entry, error) {
	stream, err := backup.Open(ctx, tableStream)
	if err != nil {
		return nil, err
	}
	entries, err := tree.DecodeTable(stream)
	return entries, errors.Join(err, stream.Close())
}

// fallbacks collects what the replica had to give, each object once.
type fallbacks struct {
	mu    sync.Mutex
	found map[string]report.Fallback
	order []string
}

func (f *fallbacks) add(used vault.Fallback) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found == nil {
		f.found = make(map[string]report.Fallback)
	}
	if _, known := f.found[used.Key]; !known {
		f.order = append(f.order, used.Key)
	}
	f.found[used.Key] = report.Fallback{Object: used.Key, Reason: string(fault.KindOf(used.Reason)), From: used.From, To: used.To}
}

// mostFallbacks keeps a result small when a whole region is lost.
const mostFallbacks = 100

func (f *fallbacks) list() []report.Fallback {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []report.Fallback
	for _, key := range f.order[:min(len(f.order), mostFallbacks)] {
		all = append(all, f.found[key])
	}
	return all
}

// makeParent makes the directory that the live one lies in, when the disaster
// took it, too; open to read, as such directories usually are.
func makeParent(live string) error {
	parent := filepath.Dir(live)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fault.New(fault.PathFailed, "create directory", parent, err)
	}
	return nil
}

func missing(name string) bool {
	_, err := os.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}
