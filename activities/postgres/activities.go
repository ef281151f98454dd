package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

// Deps are what the activities need of their host.
type Deps struct {
	// Vault opens the system's stores. onFallback is told of each object that
	// the replica had to give, maybe concurrently.
	Vault func(ctx context.Context, s system.System, onFallback func(vault.Fallback)) (*vault.Vault, error)

	// Secret resolves a reference on this host.
	Secret func(system.SecretRef) ([]byte, error)

	// Proof tells how far a backup is proven, as the ledger has it: "L1"; "" for not at
	// all. Without it no base backup shares anything with an earlier one.
	Proof func(ctx context.Context, s system.System, key string) (string, error)

	// Services starts and stops what is configured.
	Services Services

	// RestoreCommand is the setting of that name that fetches what the pin file
	// allows; it holds %f and %p, and keeps the contract of wal-fetch.
	RestoreCommand func(s system.System, d system.Database, pinFile string) string

	// Environment is what that command needs, as "NAME=value".
	Environment []string

	// Floor is the free space, in bytes, below which a staged server is ended. 0: the usual one.
	Floor uint64

	TempDir string // for WAL that is looked at; empty: the system's
}

// Services is internal/service.Control as it is used here.
type Services interface {
	Check(s system.Service) error // that this host has the programs for it
	Status(ctx context.Context, s system.Service) (service.State, error)
	Start(ctx context.Context, s system.Service) (changed bool, err error)
	Stop(ctx context.Context, s system.Service) (changed bool, err error)
}

// Activities back up and recover PostgreSQL clusters.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities {
	if deps.TempDir == "" {
		deps.TempDir = os.TempDir()
	}
	if deps.Floor == 0 {
		deps.Floor = spaceFloor
	}
	return &Activities{deps: deps}
}

// job is what every activity resolves from its Ref first.
type job struct {
	*Activities
	ref      Ref
	system   system.System // as it looks at the target
	target   system.Target
	database system.Database
	login    postgres.Login

	mu        sync.Mutex
	fallbacks []Fallback
}

// resolve finds the database at the target and its login on this host.
func (a *Activities) resolve(ref Ref) (*job, error) {
	at, target, err := ref.System.ForTarget(ref.Target)
	if err != nil {
		return nil, err
	}
	database, err := at.Database(ref.Component)
	if err != nil {
		return nil, err
	}
	dsn, err := a.deps.Secret(database.Connection)
	if err != nil {
		return nil, err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{Host: database.Host, Port: database.Port})
	if err != nil {
		return nil, err
	}
	if ref.Scratch && (ref.RunID == "" || ref.Target != "") {
		return nil, fault.Newf(fault.InputInvalid, "restore to look at", database.Name, "it needs a run, and no target")
	}
	return &job{Activities: a, ref: ref, system: at, target: target, database: database, login: login}, nil
}

// vault opens the stores; what they fall back to is remembered for the result.
func (j *job) vault(ctx context.Context) (*vault.Vault, error) {
	return j.deps.Vault(ctx, j.ref.System, func(f vault.Fallback) {
		j.mu.Lock()
		defer j.mu.Unlock()
		reason := string(fault.KindOf(f.Reason))
		j.fallbacks = append(j.fallbacks, Fallback{Object: f.Key, Reason: reason, From: f.From, To: f.To})
	})
}

func (j *job) fellBack() []Fallback {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fallbacks
}

// archive opens the WAL archive of the cluster.
func (j *job) archive(ctx context.Context) (*wal.Archive, error) {
	opened, err := j.vault(ctx)
	if err != nil {
		return nil, err
	}
	return wal.New(wal.Config{Vault: opened, Cluster: j.database.Cluster, Home: j.ref.System.From})
}

// service finds the service that starts and stops the server.
func (j *job) service() (system.Service, error) {
	if j.database.Service == "" {
		return system.Service{}, fault.Newf(fault.Unsupported, "recover", j.database.Name, "no service starts this server at target %q", j.ref.Target).
			WithHint("set service of the database in lifeboat.yaml, or recover to production")
	}
	return j.ref.System.Service(j.database.Service)
}

// reach connects to the server that runs at the target. Whether one does is asked
// at its address first: its process can be hidden from this worker, and what can't
// be seen is neither ended nor known to have ended. It fails with TargetRefused
// then, with ForeignCluster, or with ConfigInvalid when it runs in another
// directory. An empty identifier expects nothing.
func (j *job) reach(ctx context.Context, place Place, systemID string) (*postgres.Server, error) {
	server, err := postgres.Connect(ctx, j.login)
	if err != nil {
		return nil, err
	}
	if err := j.recognize(server, place, systemID); err != nil {
		server.Close(ctx)
		return nil, err
	}
	return server, nil
}

func (j *job) recognize(server *postgres.Server, place Place, systemID string) error {
	facts := server.Facts()
	if err := facts.CheckSystem(systemID, server.String()); err != nil {
		return err
	}
	if !postgres.SameDir(facts.DataDir, place.Live) {
		return fault.Newf(fault.ConfigInvalid, "look at", server.String(), "its data directory is %s, data_dir says %s", facts.DataDir, place.Live).
			WithHint("correct connection or data_dir of database %s in lifeboat.yaml", j.database.Name)
	}
	if !postgres.Running(place.Live) {
		return fault.Newf(fault.TargetRefused, "look at", server.String(), "the server answers, and no process of it in %s can be seen", place.Live).
			WithHint("run the worker on the server's host, in its PID namespace, as root or as the owner of the directory; docker-compose.yml has an example")
	}
	return nil
}

// locked runs a step under the target's lock, which stays the run's afterwards.
func (j *job) locked(ctx context.Context, place Place, step func() error) (err error) {
	held, err := target.Lock(ctx, place.Live, j.ref.RunID)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := held.Close(); err == nil {
			err = closeErr
		}
	}()
	return step()
}

// owner is the account that the files belong to.
func (p Place) owner() (postgres.Account, error) { return postgres.OwnerOf(p.Live, p.OSUser) }

// Files in the run directory.
func (p Place) pin() string       { return filepath.Join(p.Run, "pin.json") }
func (p Place) fence() string     { return filepath.Join(p.Run, "fence.json") }
func (p Place) stopped() string   { return filepath.Join(p.Run, "stopped") }
func (p Place) ended() string     { return filepath.Join(p.Run, "ended.json") }
func (p Place) caughtUp() string  { return filepath.Join(p.Run, "caught-up.json") }
func (p Place) goal() string      { return filepath.Join(p.Run, "goal.json") }
func (p Place) postponed() string { return filepath.Join(p.Run, "verify-postponed") }
func (p Place) verified() string  { return filepath.Join(p.Run, "verified.json") }
func (p Place) manifest() string  { return filepath.Join(p.Run, postgres.StreamManifest) }
func (p Place) settings() string  { return filepath.Join(p.Run, settingsStream+".json") }
func (p Place) verifyLog() string { return filepath.Join(p.Run, "pg_verifybackup.log") }

// links are the tablespaces' places: staged, or live.
func (p Place) links(location func(TablespacePlace) string) []postgres.Link {
	links := make([]postgres.Link, len(p.Tablespaces))
	for i, space := range p.Tablespaces {
		links[i] = postgres.Link{OID: space.OID, Location: location(space)}
	}
	return links
}

// checkNewTablespaces is asked before any WAL is given to the staged server.
func (p Place) checkNewTablespaces() error {
	known := make([]uint32, len(p.Tablespaces))
	for i, space := range p.Tablespaces {
		known[i] = space.OID
	}
	if err := postgres.CheckNewTablespaces(p.Live, p.Staging, known); err != nil || p.Production == "" {
		return err
	}
	return postgres.CheckNewTablespaces(p.Production, p.Staging, known)
}

func staged(s TablespacePlace) string { return s.Staging }
func live(s TablespacePlace) string   { return s.Live }

// socketDir is a short path, because the system allows about 100 bytes for a
// socket's name.
func socketDir(staging string) string {
	sum := sha256.Sum256([]byte(staging))
	return filepath.Join(os.TempDir(), "lifeboat-"+hex.EncodeToString(sum[:6]))
}
