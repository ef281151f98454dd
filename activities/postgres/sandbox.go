package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
	"github.com/frende/lifeboat/internal/wal"
)

// sandboxed says whether the recovery rehearses: no service of production's is
// touched, no archive is claimed, and the server is Lifeboat's own. A recovery that
// only looks is one, too.
func (j *job) sandboxed() bool { return j.ref.Scratch || j.target.Kind == system.TargetSandbox }

// production is the database as it is configured for production.
func (j *job) production() system.Database {
	for _, d := range j.ref.System.Databases {
		if d.Name == j.database.Name {
			return d
		}
	}
	return j.database
}

// checkService says whether this host can start the server at the target.
func (j *job) checkService() error {
	if j.sandboxed() {
		return nil
	}
	service, err := j.service()
	if err != nil {
		return err
	}
	return j.deps.Services.Check(service)
}

// owner is the account of the server at the target: a sandbox's is production's.
func (j *job) owner() (postgres.Account, error) {
	return postgres.OwnerOf(j.production().DataDir, j.database.OSUser)
}

// located is where a tablespace of the source lies at the target.
func (j *job) located(path string) string {
	if j.sandboxed() {
		return filepath.Join(j.target.Root, path)
	}
	return filepath.Clean(path)
}

// vacant refuses a sandbox in which something is, or answers, already.
func (j *job) vacant(ctx context.Context, place Place) error {
	if _, err := os.Lstat(place.Live); !errors.Is(err, fs.ErrNotExist) {
		return fault.Newf(fault.TargetRefused, "rehearse in", place.Live, "something is there").
			WithHint("a drill begins with an empty sandbox: run it again, or clear %s by hand", j.target.Root)
	}
	server, err := postgres.Connect(ctx, j.login)
	if fault.Has(err, fault.ServerUnavailable) {
		return nil
	}
	if err == nil {
		server.Close(ctx)
	}
	return fault.Newf(fault.TargetRefused, "rehearse at", j.login.String(), "a server answers there").
		WithHint("give the sandbox another port_base in lifeboat.yaml")
}

// sandbox is how the server is run there.
func (j *job) sandbox(place Place) (postgres.SandboxConfig, error) {
	owner, err := place.owner()
	return postgres.SandboxConfig{
		DataDir: place.Live, BinDir: place.BinDir, Owner: owner, RunDir: place.Live + ".server", SocketDir: socketDir(place.Live),
		Port: j.database.Port, Superuser: place.Superuser, Login: place.Login,
	}, err
}

// inPlace reaches the server at the target after the cut-over.
func (j *job) inPlace(place Place) (postgres.Login, error) {
	if !j.sandboxed() {
		return j.login, nil
	}
	config, err := j.sandbox(place)
	if err != nil {
		return postgres.Login{}, err
	}
	return config.Reach()
}

// cutOverSandbox puts the staged directories in place in the sandbox and starts
// the server itself. The archive is not claimed: production goes on archiving.
func (j *job) cutOverSandbox(ctx context.Context, archive *wal.Archive, in CutOverInput) (CutOverResult, error) {
	if err := j.handOver(ctx, archive, in); err != nil {
		return CutOverResult{}, err
	}
	for _, space := range in.Place.Tablespaces {
		if _, err := target.Swap(ctx, target.SwapRequest{Current: space.Live, Staged: space.Staging, Run: j.ref.RunID}); err != nil {
			return CutOverResult{}, err
		}
	}
	if _, err := target.Swap(ctx, target.SwapRequest{Current: in.Place.Live, Staged: in.Place.Staging, Run: j.ref.RunID, Exclusive: true}); err != nil {
		return CutOverResult{}, err
	}
	config, err := j.sandbox(in.Place)
	if err != nil {
		return CutOverResult{}, err
	}
	config.Preload = in.Facts.Preload
	if err := postgres.StartSandbox(ctx, config); err != nil {
		return CutOverResult{}, err
	}
	login, err := config.Reach()
	if err != nil {
		return CutOverResult{}, err
	}
	restored := postgres.Restored{SystemID: in.Facts.SystemID, DataDir: in.Place.Live, Timeline: in.Timeline}
	return CutOverResult{Live: in.Place.Live}, j.answering(ctx, in.Place, login, in.LSN, in.Facts.SegmentSize, func() error {
		return postgres.AwaitReplayed(ctx, login, restored, in.LSN, startTime)
	})
}

// EndSandbox ends the server that a drill has left in its sandbox, staged or in
// place. None is no error. The directories are removed with the sandbox.
func (a *Activities) EndSandbox(ctx context.Context, in EndSandboxInput) error {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return err
	}
	if !j.sandboxed() {
		return fault.Newf(fault.InputInvalid, "end sandbox of", j.database.Name, "target %s is no sandbox", j.target.Name)
	}
	stop := temporal.Heartbeats(ctx, func() any { return Progress{} })
	defer stop()
	dirs := []string{j.database.DataDir}
	left, err := target.Leftovers(j.database.DataDir)
	if err != nil {
		return err
	}
	for _, one := range left {
		if one.Kind == target.LeftoverStaging {
			dirs = append(dirs, one.Path)
		}
	}
	for _, dir := range dirs {
		if err := postgres.StopInstance(ctx, dir, socketDir(dir)); err != nil {
			return err
		}
	}
	return nil
}
