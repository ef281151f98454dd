package redis

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// Programs are the paths of Redis's own programs on this host.
type Programs struct {
	Server   string // redis-server
	CheckRDB string // redis-check-rdb
	CheckAOF string // redis-check-aof
}

// FindPrograms finds them in binDir, or on the worker's PATH when it is "".
func FindPrograms(binDir string) (Programs, error) {
	p := Programs{
		Server:   filepath.Join(binDir, "redis-server"),
		CheckRDB: filepath.Join(binDir, "redis-check-rdb"),
		CheckAOF: filepath.Join(binDir, "redis-check-aof"),
	}
	for _, program := range []string{p.Server, p.CheckRDB, p.CheckAOF} {
		if _, err := command.New(command.Config{Argv: []string{program}}); err != nil {
			return Programs{}, fault.Newf(fault.ConfigInvalid, "find", program, "it is not on this host").
				WithHint("install Redis (Debian: redis-server and redis-tools) or set bin_dir of the cache")
		}
	}
	return p, nil
}

// Version asks redis-server for its version: "7.0.15".
func (p Programs) Version(ctx context.Context) (string, error) {
	result, err := command.Run(ctx, command.Config{Argv: []string{p.Server, "--version"}})
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`v=(\d+\.\d+\.\d+)`).FindSubmatch(result.Stdout)
	if found == nil {
		return "", fault.New(fault.CommandFailed, "read version of", p.Server, errors.New("it says none"))
	}
	return string(found[1]), nil
}

// Older says whether a server of version have can't be relied on to read data
// of version want: RDB formats are read by the same and later versions.
func Older(have, want string) bool {
	return compareVersions(have, want) < 0
}

// compareVersions compares major and minor: patch releases share their formats.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range 2 {
		if i >= len(as) || i >= len(bs) {
			return 0
		}
		x, xErr := strconv.Atoi(as[i])
		y, yErr := strconv.Atoi(bs[i])
		if xErr != nil || yErr != nil || x == y {
			continue
		}
		return x - y
	}
	return 0
}

// Check has Redis's own tools read a prepared data directory, and gives how
// many keys its RDB holds, those that have run out included. Damage is
// VerificationFailed.
func (p Programs) Check(ctx context.Context, dir string, l Layout) (keys int64, err error) {
	rdb := filepath.Join(dir, l.RDB())
	result, err := command.Run(ctx, command.Config{Argv: []string{p.CheckRDB, rdb}})
	if fault.Has(err, fault.CommandFailed) {
		return 0, fault.New(fault.VerificationFailed, "redis-check-rdb", rdb, errors.New("it finds damage"))
	}
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(\d+) keys read`).FindSubmatch(result.Stdout)
	if found == nil {
		return 0, fault.New(fault.VerificationFailed, "redis-check-rdb", rdb, errors.New("it counts no keys"))
	}
	if keys, err = strconv.ParseInt(string(found[1]), 10, 64); err != nil {
		return 0, fault.New(fault.VerificationFailed, "redis-check-rdb", rdb, err)
	}
	if !l.AppendOnly {
		return keys, nil
	}
	manifest := filepath.Join(dir, l.Manifest())
	if _, err := command.Run(ctx, command.Config{Argv: []string{p.CheckAOF, manifest}}); fault.Has(err, fault.CommandFailed) {
		return 0, fault.New(fault.VerificationFailed, "redis-check-aof", manifest, errors.New("it finds damage"))
	} else if err != nil {
		return 0, err
	}
	return keys, nil
}
