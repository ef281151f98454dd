package postgres

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// versionLine is what "postgres --version" and the like print.
var versionLine = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+)`)

// FindBin finds the directory with the programs of a major version: configured
// when it is set, else Debian's and Red Hat's versioned folders, then PATH. It
// fails with VersionMismatch when there is only another version, or none.
func FindBin(ctx context.Context, configured string, major int) (string, error) {
	return findPrograms(ctx, configured, major, "a PostgreSQL server", "postgresql", "postgres")
}

// FindClient is FindBin for the programs that dump and restore, which a host without
// a server may have, too.
func FindClient(ctx context.Context, configured string, major int) (string, error) {
	return findPrograms(ctx, configured, major, "pg_dump with pg_dumpall, pg_restore and psql", "postgresql-client", "pg_dump", "pg_dumpall", "pg_restore", "psql")
}

// findPrograms finds the directory that has all of the programs, the first of them
// of the major version. what and parcel name them in a fault.
func findPrograms(ctx context.Context, configured string, major int, what, parcel string, programs ...string) (string, error) {
	const op = "find programs of"
	subject := "PostgreSQL " + strconv.Itoa(major)
	candidates := []string{configured}
	if configured == "" {
		candidates = []string{
			filepath.Join("/usr/lib/postgresql", strconv.Itoa(major), "bin"),
			filepath.Join("/usr", "pgsql-"+strconv.Itoa(major), "bin"),
			"/usr/local/pgsql/bin",
		}
		candidates = append(candidates, filepath.SplitList(os.Getenv("PATH"))...)
	}
	others := []string{}
	for _, dir := range candidates {
		if !hasAll(dir, programs) {
			continue
		}
		result, err := command.Run(ctx, command.Config{Argv: []string{filepath.Join(dir, programs[0]), "--version"}, Env: cLocale()})
		if err != nil {
			return "", err
		}
		match := versionLine.FindSubmatch(result.Stdout)
		if match != nil && string(match[1]) == strconv.Itoa(major) {
			return dir, nil
		}
		if match != nil {
			others = append(others, string(match[1])+" in "+dir)
		}
	}
	if len(others) > 0 {
		return "", fault.Newf(fault.VersionMismatch, op, subject, "found only %s", strings.Join(others, ", ")).
			WithHint("install %s-%d on this host, or set bin_dir to where it is", parcel, major)
	}
	return "", fault.Newf(fault.VersionMismatch, op, subject, "%s is not installed where it was looked for", what).
		WithHint("install %s-%d on this host, or set bin_dir to where it is", parcel, major)
}

func hasAll(dir string, programs []string) bool {
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	return true
}

// cLocale is an environment in which programs speak as this package reads them.
func cLocale() []string { return append(command.Inherit("PATH", "HOME", "TZ"), "LC_ALL=C") }

// Account is the operating system user that owns a cluster's files.
type Account struct {
	Name     string
	UID, GID int
}

// OwnerOf finds who owns, or is to own, the data directory: the configured
// user, else the owner of the directory, else that of its nearest parent that
// exists, else whoever runs this. PostgreSQL refuses root, and so does OwnerOf,
// with ConfigInvalid.
func OwnerOf(dataDir, configured string) (Account, error) {
	const op = "find owner of"
	refuse := func(cause error) (Account, error) {
		return Account{}, fault.New(fault.ConfigInvalid, op, dataDir, cause).
			WithHint("set os_user to the account that the server runs as")
	}
	if os.Geteuid() != 0 {
		found, err := user.Current()
		if err != nil {
			return refuse(err)
		}
		return account(found)
	}
	if configured != "" {
		found, err := user.Lookup(configured)
		if err != nil {
			return refuse(err)
		}
		return account(found)
	}
	for path := filepath.Clean(dataDir); ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err == nil {
			stat, ok := info.Sys().(*syscall.Stat_t)
			if !ok || stat.Uid == 0 {
				return refuse(errRoot)
			}
			found, err := user.LookupId(strconv.Itoa(int(stat.Uid)))
			if err != nil {
				return refuse(err)
			}
			return account(found)
		}
		if path == filepath.Dir(path) {
			return refuse(err)
		}
	}
}

func account(found *user.User) (Account, error) {
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return Account{}, fault.New(fault.ConfigInvalid, "read account", found.Username, err)
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return Account{}, fault.New(fault.ConfigInvalid, "read account", found.Username, err)
	}
	if uid == 0 {
		return Account{}, fault.New(fault.ConfigInvalid, "read account", found.Username, errRoot).
			WithHint("set os_user to the account that the server runs as")
	}
	return Account{Name: found.Username, UID: uid, GID: gid}, nil
}
