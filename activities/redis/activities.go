package redis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// kind of a backup, and the name of its only stream.
const (
	kind      = "rdb"
	rdbStream = "rdb"
)

// Deps are what the activities need of their host.
type Deps struct {
	// Vault opens the vault of a system. onFallback, when not nil, is told of
	// every object that the replica has to give; it may be called concurrently.
	Vault    func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)
	Secret   func(system.SecretRef) ([]byte, error) // reads a secret on this host
	Services *service.Control                       // stops and starts the server at a cut-over
}

// Activities back up and recover Redis servers.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// reach says how the cache's server is reached, its password read on this host.
func (a *Activities) reach(c system.Cache) (redis.Config, error) {
	config := redis.Config{Address: c.Address, Username: c.Username}
	if c.Password.Empty() {
		return config, nil
	}
	password, err := a.deps.Secret(c.Password)
	config.Password = string(password)
	return config, err
}

func (a *Activities) connect(ctx context.Context, c system.Cache) (*redis.Server, error) {
	config, err := a.reach(c)
	if err != nil {
		return nil, err
	}
	return redis.Connect(ctx, config)
}

// choose opens a backup to recover from, of which all is there; key "" is the
// newest such of the component or, with before, the newest whose state is not newer.
func (a *Activities) choose(ctx context.Context, s system.System, c system.Cache, key string, before time.Time) (vault.Opened, error) {
	opened, err := a.deps.Vault(ctx, s, (&fallbacks{}).add)
	if err != nil {
		return vault.Opened{}, err
	}
	of := vault.Filter{Folder: Folder, Component: c.Name}
	switch {
	case key == "" && before.IsZero():
		return opened.OpenLatest(ctx, of)
	case key == "":
		return opened.OpenNewest(ctx, of, before, func(m *vault.Manifest) (bool, error) {
			var facts Facts
			err := m.Fact(FactsName, &facts)
			return !facts.Forked.After(before), err
		})
	}
	backup, err := opened.OpenWhole(ctx, key)
	return vault.Opened{Backup: backup}, err
}

// open opens the backup that was chosen.
func (a *Activities) open(ctx context.Context, s system.System, key string, used *fallbacks) (*vault.Backup, error) {
	opened, err := a.deps.Vault(ctx, s, used.add)
	if err != nil {
		return nil, err
	}
	return opened.Open(ctx, key)
}

// layout finds how the server that will be started reads its data: its
// configuration file says; without one, the running server; without that, the
// server that the backup was taken from. A master, whoever names it, is refused.
func (a *Activities) layout(ctx context.Context, c system.Cache, backup redis.Layout) (redis.Layout, error) {
	running, err := a.running(ctx, c)
	if err != nil {
		return redis.Layout{}, err
	}
	if running != nil {
		if err := running.CheckDetached(c.Name); err != nil {
			return redis.Layout{}, err
		}
	}
	if c.Config != "" {
		layout, dir, err := redis.ReadLayout(c.Config)
		if err == nil {
			return layout, sameDir(c, dir, c.Config)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return redis.Layout{}, err
		}
	}
	if running == nil {
		return backup, nil // a server that is gone is why we are here
	}
	return running.Layout, sameDir(c, running.Dir, c.Address)
}

// running asks the server at the address; nil when none tells.
func (a *Activities) running(ctx context.Context, c system.Cache) (*redis.Facts, error) {
	const patience = 3 * time.Second // it is a disaster: usually nobody answers
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, err := a.connect(limited, c)
	if err != nil {
		return nil, ctx.Err()
	}
	facts, err := server.Facts(limited)
	if err := errors.Join(err, server.Close()); err != nil {
		return nil, ctx.Err()
	}
	return &facts, nil
}

// sameDir refuses when the server keeps its data elsewhere than Lifeboat would
// put it.
func sameDir(c system.Cache, dir, source string) error {
	if dir == "" || !filepath.IsAbs(dir) {
		return nil // Redis's own default, the directory it is started in
	}
	if filepath.Clean(dir) == filepath.Clean(c.DataDir) {
		return nil
	}
	one, oneErr := os.Stat(dir)
	other, otherErr := os.Stat(c.DataDir)
	if oneErr == nil && otherErr == nil && os.SameFile(one, other) {
		return nil
	}
	return fault.Newf(fault.ServerSettings, "find data directory of", c.Name, "%s says %s, lifeboat.yaml says %s", source, dir, c.DataDir).
		WithHint("correct data_dir of the cache in lifeboat.yaml, or dir in the server's configuration")
}

// fallbacks collects what the replica had to give, each object once.
type fallbacks struct {
	mu    sync.Mutex
	found []report.Fallback
}

// mostFallbacks keeps a result small when a whole region is lost.
const mostFallbacks = 100

func (f *fallbacks) add(used vault.Fallback) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.found) == mostFallbacks {
		return
	}
	for _, known := range f.found {
		if known.Object == used.Key {
			return
		}
	}
	f.found = append(f.found, report.Fallback{Object: used.Key, Reason: string(fault.KindOf(used.Reason)), From: used.From, To: used.To})
}

func (f *fallbacks) list() []report.Fallback {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found
}

func missing(name string) bool {
	_, err := os.Lstat(name)
	return errors.Is(err, fs.ErrNotExist)
}
