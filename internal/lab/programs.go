package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// toolsHint is what every missing program says.
const toolsHint = "run: make tools"

// find gives the path of a program: from PATH, else from the places where Go
// and Debian put programs.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	var folders []string
	if bin := os.Getenv("GOBIN"); bin != "" {
		folders = append(folders, bin)
	}
	if home, err := os.UserHomeDir(); err == nil {
		folders = append(folders, filepath.Join(home, "go", "bin"))
	}
	for _, folder := range append(folders, "/usr/local/bin", "/usr/bin", "/usr/sbin") {
		if path := filepath.Join(folder, name); executable(path) {
			return path, nil
		}
	}
	return "", missing(name)
}

// PostgresBin gives the folder of the newest PostgreSQL server that is
// installed: Debian's versioned folder, else that of initdb on PATH.
func PostgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", fault.New(fault.PathFailed, "look for", "postgres", err)
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return majorVersion(a) - majorVersion(b) })
		return filepath.Dir(newest), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", missing("postgres")
}

func majorVersion(postgres string) int {
	version, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(postgres))))
	if err != nil {
		return 0
	}
	return version
}

func missing(name string) error {
	return fault.Newf(fault.ServerSettings, "find program", name, "not installed; %s", toolsHint).WithHint(toolsHint)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// usable gives a path under which the account can run the program: its own, or
// that of a copy when it lies where only root can go.
func (a Account) usable(program string) (string, error) {
	if a.reaches(filepath.Dir(program)) {
		return program, nil
	}
	copied, err := copyProgram(program)
	if err != nil {
		return "", fault.New(fault.PathFailed, "copy program", program, err)
	}
	return copied, nil
}

// copyProgram keeps one copy of each version of a program in a folder under
// the temporary directory that belongs to this user alone.
func copyProgram(program string) (string, error) {
	info, err := os.Stat(program)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("lifeboat-lab-bin-%d", os.Geteuid()))
	if err := os.Mkdir(folder, 0o755); err != nil && !os.IsExist(err) {
		return "", err
	}
	owned, err := os.Lstat(folder)
	if err != nil {
		return "", err
	}
	if stat, ok := owned.Sys().(*syscall.Stat_t); !ok || !owned.IsDir() || int(stat.Uid) != os.Geteuid() || owned.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a folder of this user alone", folder)
	}
	if err := os.Chmod(folder, 0o755); err != nil { // whatever the umask says
		return "", err
	}
	target := filepath.Join(folder, fmt.Sprintf("%s-%d-%d", info.Name(), info.Size(), info.ModTime().UnixNano()))
	if executable(target) {
		return target, nil
	}
	return target, writeProgram(program, folder, target)
}

// writeProgram lets nothing be forked while it writes: a child holds what is
// open for writing until it executes its own program, and until then the copy
// can't be executed ("text file busy").
func writeProgram(program, folder, target string) (err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // read only
	to, err := os.CreateTemp(folder, ".copy-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(to.Name())
		}
	}()
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		return err
	}
	if err := to.Chmod(0o755); err != nil {
		_ = to.Close()
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Rename(to.Name(), target)
}
