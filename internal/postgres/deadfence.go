package postgres

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// DeadFence says which server, that does not answer, is fenced.
type DeadFence struct {
	DataDir   string
	ConfigDir string // where its postgresql.conf lies; empty: DataDir
	BinDir    string
	Owner     Account
	Journal   string
}

// nobody is client authentication that refuses everyone.
const nobody = "local all all reject\nhost all all all reject\nlocal replication all reject\nhost replication all all reject\n"

// RaiseDeadFence keeps a server that does not answer from being used: one that is
// dead does not start while its client authentication has no line, whoever tries,
// and one that hangs or is still on its way up lets nobody in. There is no one to
// ask where client authentication lies: the server's settings say it, and as its
// account may have written them, only a plain file of that account is replaced
// (TargetRefused otherwise). LowerFence takes it back. It may be called again.
func RaiseDeadFence(ctx context.Context, d DeadFence) error {
	const op = "fence"
	path, err := d.hba(ctx)
	if err != nil {
		return err
	}
	dir, err := openHBADir(filepath.Dir(path))
	if err != nil {
		return pathFault(op, path, err)
	}
	defer dir.close()
	original, err := dir.read(op, filepath.Base(path))
	if err != nil {
		return err
	}
	if original.owner.UID != d.Owner.UID {
		return fault.Newf(fault.TargetRefused, op, path, "it is not a plain file of account %s", d.Owner.Name)
	}
	pid, runs := postmaster(d.DataDir)
	lines := ""
	if runs {
		lines = nobody // it does not take a file without a line
	}
	if err := dir.fence(original, lines, d.DataDir, d.Journal); err != nil {
		return err
	}
	if original.fenced() { // while it was alive, which let somebody in
		if err := dir.replace(original.name, []byte(fenceMark+path+asideSuffix+"\n"+lines), original); err != nil {
			return err
		}
	}
	if runs {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fault.New(fault.ServerFailed, op, d.DataDir, err)
		}
	}
	return nil
}

// hba asks the server's program, as the server's account, what its settings say.
func (d DeadFence) hba(ctx context.Context) (string, error) {
	dir := d.ConfigDir
	if dir == "" {
		dir = d.DataDir
	}
	result, err := command.Run(ctx, command.Config{
		Argv: []string{filepath.Join(d.BinDir, "postgres"), "-C", "hba_file", "-D", dir}, Env: cLocale(), User: d.Owner.Name,
	})
	if err != nil {
		return "", err
	}
	path := strings.TrimSpace(string(result.Stdout))
	if !filepath.IsAbs(path) {
		return "", fault.Newf(fault.PathFailed, "fence", dir, "its settings do not say where client authentication lies")
	}
	return filepath.Clean(path), nil
}
