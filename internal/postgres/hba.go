package postgres

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

const (
	// fenceMark is the first line of a fenced pg_hba.conf.
	fenceMark = "# fenced by lifeboat; the original lies beside, see: "

	asideSuffix = ".lifeboat-original"
	longestHBA  = 1 << 20 // bytes; more is no client authentication
)

// hbaDir is the opened directory in which client authentication lies. The
// server's account can change that directory, and the links to it, at any time.
// So it is opened once, and what is read, judged and replaced is in there.
type hbaDir struct {
	root *os.Root
	path string
}

func openHBADir(path string) (hbaDir, error) {
	root, err := os.OpenRoot(path)
	return hbaDir{root: root, path: path}, err
}

func (d hbaDir) close() { _ = d.root.Close() } // nothing was written to it

// hbaFile is what lies in the directory under one name.
type hbaFile struct {
	name  string
	body  []byte
	mode  fs.FileMode
	owner Account
}

// fenced says whether it is a fence.
func (f hbaFile) fenced() bool { return strings.HasPrefix(string(f.body), fenceMark) }

// read reads a plain file. It fails with TargetRefused when another kind of file
// lies there, a link above all, and with PathFailed, of fs.ErrNotExist, when nothing does.
func (d hbaDir) read(op, name string) (hbaFile, error) {
	path := filepath.Join(d.path, name)
	listed, err := d.root.Lstat(name)
	if err != nil {
		return hbaFile{}, pathFault(op, path, err)
	}
	refused := fault.Newf(fault.TargetRefused, op, path, "it is not a plain file").
		WithHint("look at who made it: a server's own client authentication is a file of its account")
	if !listed.Mode().IsRegular() || listed.Size() > longestHBA {
		return hbaFile{}, refused
	}
	file, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return hbaFile{}, pathFault(op, path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return hbaFile{}, pathFault(op, path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !os.SameFile(listed, info) { // exchanged meanwhile
		return hbaFile{}, refused
	}
	body, err := io.ReadAll(io.LimitReader(file, longestHBA))
	if err != nil {
		return hbaFile{}, pathFault(op, path, err)
	}
	return hbaFile{name: name, body: body, mode: info.Mode().Perm(), owner: Account{UID: int(stat.Uid), GID: int(stat.Gid)}}, nil
}

// replace puts content under a name, whole or not at all, and durably, with the
// owner and the mode of another file.
func (d hbaDir) replace(name string, content []byte, like hbaFile) error {
	const op = "write"
	path, temporary := filepath.Join(d.path, name), ".lifeboat-"+strings.ToLower(rand.Text())
	file, err := d.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return pathFault(op, path, err)
	}
	_, writeErr := file.Write(content)
	err = errors.Join(writeErr, like.owner.ownFile(file), file.Chmod(like.mode), file.Sync(), file.Close())
	if err == nil {
		err = d.root.Rename(temporary, name)
	}
	if err != nil {
		return pathFault(op, path, errors.Join(err, d.root.Remove(temporary)))
	}
	return d.sync()
}

func (d hbaDir) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return pathFault("sync", d.path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return pathFault("sync", d.path, err)
	}
	return nil
}

// fence keeps the original beside and lets in only whom the lines of door name.
// The journal comes first, so that whatever follows can be undone.
func (d hbaDir) fence(original hbaFile, door, dataDir, journal string) error {
	path := filepath.Join(d.path, original.name)
	f := fence{HBA: path, Aside: path + asideSuffix, DataDir: dataDir, Account: original.owner.UID}
	if err := f.note(journal); err != nil || original.fenced() { // another run's, which is taken over
		return err
	}
	if err := d.replace(original.name+asideSuffix, original.body, original); err != nil {
		return err
	}
	return d.replace(original.name, []byte(fenceMark+f.Aside+"\n"+door), original)
}

// mayReplace fails with TargetRefused when a file is not the server's to have
// replaced: its account's, or root's under the usual name in one of the places. That
// account says where the file lies, and may have planted what leads there.
func (d hbaDir) mayReplace(f hbaFile, account int, places ...string) error {
	if account != 0 && f.owner.UID == account {
		return nil
	}
	here, err := d.root.Stat(".")
	if err != nil {
		return pathFault("fence", d.path, err)
	}
	for _, place := range places {
		there, err := os.Stat(place)
		if err == nil && os.SameFile(here, there) && f.owner.UID == 0 && account != 0 && f.name == "pg_hba.conf" {
			return nil
		}
	}
	return fault.Newf(fault.TargetRefused, "fence", filepath.Join(d.path, f.name), "it belongs to user %d, the server to user %d", f.owner.UID, account).
		WithHint("a server's client authentication is a file of its account, or root's pg_hba.conf beside its postgresql.conf: see what hba_file says and where the file leads")
}
