package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// marker is a file that only labs have; nothing without it is ever removed.
const marker = "lab.json"

// Lab is a directory with servers and services.
type Lab struct {
	Dir      string // absolute, and reachable for the account
	Account  Account
	tethered bool // its processes end with this one
}

// Create makes an empty lab at dir. An earlier lab there is ended and removed.
// When the ordinary user can't reach dir, the lab lies under the temporary
// directory, and dir is a symbolic link to it.
func Create(ctx context.Context, dir string) (*Lab, error) {
	account, err := Ordinary()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fault.New(fault.PathFailed, "make lab", dir, err)
	}
	if _, err := os.Lstat(dir); err == nil {
		if err := Remove(ctx, dir); err != nil {
			return nil, err
		}
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fault.New(fault.PathFailed, "make lab", dir, err)
	}
	if account.reaches(parent) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, fault.New(fault.PathFailed, "make lab", dir, err)
		}
		return furnish(dir, account, false)
	}
	real, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, fault.New(fault.PathFailed, "make lab", dir, err)
	}
	if err := os.Symlink(real, dir); err != nil {
		return nil, fault.New(fault.PathFailed, "make lab", dir, errors.Join(err, os.Remove(real)))
	}
	return furnish(real, account, false)
}

// furnish makes the folders of a lab in an empty directory.
func furnish(dir string, account Account, tethered bool) (*Lab, error) {
	l := &Lab{Dir: dir, Account: account, tethered: tethered}
	for _, folder := range []string{"programs", "run", "log", "home"} {
		if err := os.Mkdir(l.Path(folder), 0o755); err != nil {
			return nil, fault.New(fault.PathFailed, "make lab", dir, err)
		}
	}
	state, err := json.Marshal(map[string]any{"account": account.Name, "created": time.Now().UTC()})
	if err == nil {
		err = os.WriteFile(l.Path(marker), state, 0o644)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // whatever the umask says
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "make lab", dir, err)
	}
	return l, account.Own(dir)
}

// Open gives the lab at dir as another process left it.
func Open(dir string) (*Lab, error) {
	account, err := Ordinary()
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(real, marker))
	}
	if err != nil {
		return nil, fault.New(fault.PathFailed, "open lab", dir, err)
	}
	return &Lab{Dir: real, Account: account}, nil
}

// Remove ends every service of the lab at dir and removes it. What is not a
// lab is left alone, with an error; what is not there is no error.
func Remove(ctx context.Context, dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.PathFailed, "remove lab", dir, err)
	}
	l, err := Open(dir)
	if err != nil {
		if info.Mode()&os.ModeSymlink != 0 && errors.Is(err, os.ErrNotExist) {
			return os.Remove(dir) // the temporary directory was emptied
		}
		return fault.Newf(fault.PathFailed, "remove lab", dir, "it has no %s, so it is not a lab", marker).WithHint("remove it by hand if nothing in it is needed")
	}
	if err := l.End(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fault.New(fault.PathFailed, "remove lab", dir, err)
	}
	if info.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(dir); err != nil {
			return fault.New(fault.PathFailed, "remove lab", dir, err)
		}
	}
	return nil
}

// End kills every service of the lab that runs, and what an earlier kill of one
// left behind: the account's processes that both work and were started inside
// the lab's directory.
func (l *Lab) End(ctx context.Context) error {
	services, err := l.Services()
	if err != nil {
		return err
	}
	var errs []error
	for _, service := range services {
		_, err := service.Kill(ctx)
		errs = append(errs, err)
	}
	strays, err := straysOf(l.Dir, l.Account.UID)
	errs = append(errs, err)
	for _, stray := range strays {
		errs = append(errs, stray.kill(ctx))
	}
	return errors.Join(errs...)
}

// Path gives a path inside the lab.
func (l *Lab) Path(elements ...string) string {
	return filepath.Join(append([]string{l.Dir}, elements...)...)
}

// Folder makes a folder inside the lab that the account owns, with the folders
// on the way.
func (l *Lab) Folder(elements ...string) (string, error) {
	path := l.Dir
	for _, name := range strings.Split(filepath.Join(elements...), string(filepath.Separator)) {
		path = filepath.Join(path, name)
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", fault.New(fault.PathFailed, "make folder", path, err)
		}
		if err := l.Account.Own(path); err != nil {
			return "", err
		}
	}
	return path, nil
}

// Write puts a file into the lab that the account owns.
func (l *Lab) Write(path string, content []byte, mode os.FileMode) error {
	if err := l.write(path, content, mode); err != nil {
		return fault.New(fault.PathFailed, "write", path, err)
	}
	return nil
}

// Command prepares a program that runs as the lab's account, with the lab's
// small environment and nothing of the caller's.
func (l *Lab) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = l.Dir
	cmd.Env = l.environment()
	l.Account.Become(cmd)
	return cmd
}

func (l *Lab) environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + l.Path("home"), "LANG=C.UTF-8", "TZ=UTC"}
}

// Define keeps how a service is started, and starts nothing.
func (l *Lab) Define(p Program) (*Service, error) {
	if p.Name == "" || strings.ContainsRune(p.Name, filepath.Separator) || len(p.Args) == 0 || !filepath.IsAbs(p.Args[0]) {
		return nil, fault.Newf(fault.InputInvalid, "define service", p.Name, "it needs a plain name and the absolute path of a program")
	}
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fault.New(fault.InputInvalid, "define service", p.Name, err)
	}
	if err := l.Write(l.Path("programs", p.Name+".json"), raw, 0o600); err != nil {
		return nil, err
	}
	return &Service{lab: l, program: p}, nil
}

// Service gives the service of this name.
func (l *Lab) Service(name string) (*Service, error) {
	raw, err := os.ReadFile(l.Path("programs", filepath.Base(name)+".json"))
	if err != nil {
		return nil, fault.New(fault.InputInvalid, "find service", name, err).WithHint("the lab has: %s", strings.Join(l.names(), ", "))
	}
	var p Program
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fault.New(fault.InputInvalid, "find service", name, err)
	}
	return &Service{lab: l, program: p}, nil
}

// Services gives all services of the lab, by name.
func (l *Lab) Services() ([]*Service, error) {
	var services []*Service
	for _, name := range l.names() {
		service, err := l.Service(name)
		if err != nil {
			return nil, err
		}
		services = append(services, service)
	}
	return services, nil
}

func (l *Lab) names() []string {
	entries, err := os.ReadDir(l.Path("programs"))
	if err != nil {
		return nil // a lab without the folder has no services
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names
}
