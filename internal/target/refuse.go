package target

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// Place is a directory that a recovery is about to replace.
type Place struct {
	Dir  string // absolute; may be missing
	Need uint64 // bytes that will be written beside it
}

// Refuse fails when one of the places can't be swapped safely, when two of them
// overlap, or when a file system has less free space than the places on it need
// together. It touches nothing. It fails with TargetRefused or NoSpace.
func Refuse(places ...Place) error {
	dirs := make([]string, 0, len(places))
	for _, place := range places {
		if err := swappable(place.Dir); err != nil {
			return err
		}
		dirs = append(dirs, filepath.Clean(place.Dir))
	}
	if err := overlap(dirs); err != nil {
		return err
	}
	return Fits(places...)
}

// swappable says why dir can't be replaced by a rename. A missing directory can.
func swappable(dir string) error {
	refuse := func(format string, args ...any) error {
		return fault.Newf(fault.TargetRefused, "prepare target", dir, format, args...)
	}
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return refuse("it is not the absolute path of a directory below the root")
	}
	if err := directory(dir); err != nil {
		return err
	}
	parent, err := nearest(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return refuse("%s can't be written to: %w", parent, err)
	}
	mounts, err := mountsIn(dir)
	if err != nil {
		return err
	}
	if slices.Contains(mounts, filepath.Clean(dir)) {
		return fault.Newf(fault.TargetRefused, "prepare target", dir, "it is a mount point").
			WithHint("a mount point can't be renamed: move the data into a directory inside the mount and point the server there")
	}
	if len(mounts) > 0 {
		return refuse("%s is mounted inside it", mounts[0])
	}
	here, err := inodeOf(dir)
	if err != nil {
		return err
	}
	around, err := inodeOf(parent)
	if err != nil {
		return err
	}
	if here != (inode{}) && here.Dev != around.Dev {
		return refuse("it lies on another file system than %s", parent)
	}
	return nil
}

// directory refuses what is there and is not a directory itself. It looks at
// the last name only: links above it lead to one place and stay as they are.
func directory(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return failed("look at", path, err)
	case info.Mode()&os.ModeSymlink != 0:
		return fault.Newf(fault.TargetRefused, "prepare target", path, "it is a symbolic link").
			WithHint("name the directory that the link leads to in lifeboat.yaml")
	case !info.IsDir():
		return fault.Newf(fault.TargetRefused, "prepare target", path, "it is not a directory")
	}
	return nil
}

// mountsIn lists the mount points at and below dir (proc_pid_mountinfo(5)).
func mountsIn(dir string) ([]string, error) {
	resolved := filepath.Clean(dir)
	if parent, err := filepath.EvalSymlinks(filepath.Dir(resolved)); err == nil {
		resolved = filepath.Join(parent, filepath.Base(resolved))
	}
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, failed("list mounts at", dir, err)
	}
	defer file.Close()
	var found []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if mount := unescape(fields[4]); within(mount, resolved) {
			found = append(found, filepath.Join(dir, strings.TrimPrefix(mount, resolved)))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, failed("list mounts at", dir, err)
	}
	slices.Sort(found)
	return found, nil
}

// unescape reads the octal escapes of mountinfo: space, tab, newline, backslash.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// within says whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func overlap(dirs []string) error {
	for i, dir := range dirs {
		for j, other := range dirs {
			if i != j && within(other, dir) {
				return fault.Newf(fault.TargetRefused, "prepare target", other, "it lies in %s, which is replaced, too", dir).
					WithHint("give the components directories of their own, or exclude the inner one from the outer")
			}
		}
	}
	return nil
}

// Fits fails with NoSpace when a file system has less free space than the places
// on it need together. It touches nothing.
func Fits(places ...Place) error {
	type volume struct {
		need, free uint64
		dir        string
	}
	volumes := map[uint64]*volume{}
	for _, place := range places {
		existing, err := nearest(filepath.Dir(place.Dir))
		if err != nil {
			return err
		}
		at, err := inodeOf(existing)
		if err != nil {
			return err
		}
		found := volumes[at.Dev]
		if found == nil {
			free, err := Space(existing)
			if err != nil {
				return err
			}
			found = &volume{free: free, dir: place.Dir}
			volumes[at.Dev] = found
		}
		found.need += place.Need
		if found.need > found.free {
			return fault.Newf(fault.NoSpace, "prepare target", found.dir, "%s needed beside it, %s free", size(found.need), size(found.free)).
				WithHint("free %s on the file system of %s; old directories of earlier recoveries may go", size(found.need-found.free), found.dir)
		}
	}
	return nil
}

// size writes bytes as a person reads them.
func size(bytes uint64) string {
	value, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return strconv.FormatUint(bytes, 10) + " B"
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// unused refuses while a process works in dir. Processes that this user may
// not look at are passed over.
func unused(dir string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return failed("look for users of", dir, err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed("look for users of", dir, err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil || !within(cwd, resolved) {
			continue
		}
		return fault.Newf(fault.TargetRefused, "prepare target", dir, "process %d (%s) works in it", pid, program(pid)).
			WithHint("stop the server that runs there; process %d holds the directory", pid)
	}
	return nil
}

// program is a process's name, or "?".
func program(pid int) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(name))
}
