package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// Layout says how a server keeps its data: by which names, and whether it reads
// the append-only file at its start.
type Layout struct {
	AppendOnly     bool   `json:"append_only"`
	DBFilename     string `json:"db_filename"`     // "dump.rdb"
	AppendDirname  string `json:"append_dirname"`  // "appendonlydir"
	AppendFilename string `json:"append_filename"` // "appendonly.aof"
	Databases      int    `json:"databases"`
}

// DefaultLayout is that of a server whose configuration says nothing of it (redis.conf of 7.0).
func DefaultLayout() Layout {
	return Layout{DBFilename: "dump.rdb", AppendDirname: "appendonlydir", AppendFilename: "appendonly.aof", Databases: 16}
}

// RDB is where, in the data directory, the server looks for its first data:
// dbfilename, or the base of the append-only file.
func (l Layout) RDB() string {
	if l.AppendOnly {
		return filepath.Join(l.AppendDirname, l.base())
	}
	return l.DBFilename
}

// Manifest is the path of the append-only file's manifest in the data directory.
func (l Layout) Manifest() string {
	return filepath.Join(l.AppendDirname, l.AppendFilename+".manifest")
}

func (l Layout) base() string { return l.AppendFilename + ".1.base.rdb" }

// check refuses names that are paths, as Redis does itself.
func (l Layout) check(subject string) error {
	for _, name := range []string{l.DBFilename, l.AppendDirname, l.AppendFilename} {
		if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
			return fault.Newf(fault.ServerSettings, "read settings of redis", subject, "%q is no file name", name).
				WithHint("dbfilename, appenddirname and appendfilename must be plain names")
		}
	}
	return nil
}

// longestConfig bounds how deep configuration files may include each other.
const longestConfig = 8

// ReadLayout reads the layout, and the data directory ("" when it is not set),
// from a configuration file and those it includes. It is what the next start of
// the server will use, whatever the running one was told since. A file that names
// a master is ServerSettings: what is put in place would be replaced from there.
func ReadLayout(file string) (Layout, string, error) {
	values := make(map[string]string)
	if err := readConfig(file, values, 0); err != nil {
		return Layout{}, "", err
	}
	if master := values["replicaof"]; master != "" && !strings.EqualFold(master, "no") { // "no one"
		return Layout{}, "", masterFault(file, master)
	}
	layout := DefaultLayout()
	layout.AppendOnly = strings.EqualFold(values["appendonly"], "yes")
	for name, field := range map[string]*string{
		"dbfilename": &layout.DBFilename, "appenddirname": &layout.AppendDirname, "appendfilename": &layout.AppendFilename,
	} {
		if value, set := values[name]; set {
			*field = value
		}
	}
	if value, set := values["databases"]; set {
		count, err := strconv.Atoi(value)
		if err != nil {
			return Layout{}, "", fault.Newf(fault.ServerSettings, "read", file, "databases is no number")
		}
		layout.Databases = count
	}
	return layout, values["dir"], layout.check(file)
}

// readConfig takes directives in order; a later one replaces an earlier.
func readConfig(file string, values map[string]string, depth int) error {
	if depth > longestConfig {
		return fault.Newf(fault.ServerSettings, "read", file, "configuration files include each other")
	}
	in, err := os.Open(file)
	if err != nil {
		return fault.New(fault.PathFailed, "read redis configuration", file, err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		name, value := directive(lines.Text())
		if name == "include" {
			if err := includeConfig(file, value, values, depth); err != nil {
				return err
			}
			continue
		}
		if name == "slaveof" { // its name before Redis 5
			name = "replicaof"
		}
		if name != "" {
			values[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return fault.New(fault.PathFailed, "read redis configuration", file, err)
	}
	return nil
}

func includeConfig(file, pattern string, values map[string]string, depth int) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(file), pattern)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return fault.New(fault.ServerSettings, "read", file, err)
	}
	for _, included := range found {
		if err := readConfig(included, values, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// directive splits a line into its name, in lower case, and its first argument.
func directive(line string) (name, value string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	name, rest, _ := strings.Cut(line, " ")
	if before, after, tab := strings.Cut(name, "\t"); tab {
		name, rest = before, after+" "+rest
	}
	rest = strings.TrimSpace(rest)
	if quoted, err := strconv.QuotedPrefix(rest); err == nil && rest[0] != '`' {
		if plain, err := strconv.Unquote(quoted); err == nil {
			return strings.ToLower(name), plain
		}
	}
	value, _, _ = strings.Cut(rest, " ")
	return strings.ToLower(name), strings.Trim(value, `'"`)
}

// Arrange moves the RDB of a prepared data directory to where a server with the
// layout reads it, and makes or removes the manifest. from is how it was
// arranged before; an RDB that is in place already is left there. What it did is
// durable when it returns.
func Arrange(dir string, from, to Layout) error {
	if err := errors.Join(from.check(dir), to.check(dir)); err != nil {
		return err
	}
	source, target := filepath.Join(dir, from.RDB()), filepath.Join(dir, to.RDB())
	if to.AppendOnly {
		if err := makeLike(filepath.Join(dir, to.AppendDirname), dir); err != nil {
			return err
		}
	}
	if source != target {
		if err := os.Rename(source, target); errors.Is(err, fs.ErrNotExist) && there(target) {
			// an earlier attempt had moved it
		} else if err != nil {
			return fault.New(fault.PathFailed, "move RDB to", target, err)
		}
	}
	if from.AppendOnly && (!to.AppendOnly || from.Manifest() != to.Manifest()) {
		if err := os.Remove(filepath.Join(dir, from.Manifest())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.PathFailed, "remove manifest", filepath.Join(dir, from.Manifest()), err)
		}
		if err := os.Remove(filepath.Join(dir, from.AppendDirname)); err != nil && !to.AppendOnly && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.PathFailed, "remove directory", filepath.Join(dir, from.AppendDirname), err)
		}
	}
	if to.AppendOnly {
		if err := writeManifest(dir, to); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// writeManifest names the RDB as the only part of the append-only file; the
// server adds its first increment when it starts (redis.io, "Redis persistence":
// multi-part AOF).
func writeManifest(dir string, l Layout) error {
	name := filepath.Join(dir, l.Manifest())
	temporary := name + ".lifeboat-partial"
	line := fmt.Sprintf("file %s seq 1 type b\n", l.base())
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return fault.New(fault.PathFailed, "create manifest", temporary, err)
	}
	_, err = file.WriteString(line)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fault.New(fault.PathFailed, "write manifest", temporary, err)
	}
	if err := giveLike(temporary, filepath.Join(dir, l.RDB())); err != nil {
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		return fault.New(fault.PathFailed, "put manifest in place", name, err)
	}
	return syncDir(filepath.Dir(name))
}

// makeLike makes a directory with the mode and owner of another.
func makeLike(name, like string) error {
	info, err := os.Stat(like)
	if err != nil {
		return fault.New(fault.PathFailed, "look at", like, err)
	}
	if err := os.Mkdir(name, info.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.New(fault.PathFailed, "create directory", name, err)
	}
	return giveLike(name, like)
}

// giveLike gives a path the owner of another, which only root can.
func giveLike(name, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := ownerOf(like)
	if err != nil {
		return err
	}
	if err := os.Lchown(name, owner.UID, owner.GID); err != nil {
		return fault.New(fault.PathFailed, "give owner of", name, err)
	}
	return nil
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return fault.New(fault.PathFailed, "open directory", name, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fault.New(fault.PathFailed, "sync directory", name, err)
	}
	return nil
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
