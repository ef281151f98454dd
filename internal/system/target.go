package system

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
)

// loopback is where the servers of a sandbox listen.
const loopback = "127.0.0.1"

// ForTarget gives the system as it looks at the named target; "" is production,
// which changes nothing. At a sandbox every path lies under the target's root
// (root + the production path), every server listens on loopback at port_base,
// port_base+1, … (databases, then caches, in the order of the file), and nothing
// is left that would reach production: no schedules, the services and migrations
// that the target names itself, and besides its own checks only those that ask
// the sandbox's own servers. It is pure, and fails with NameUnknown for an
// unknown target.
func (s System) ForTarget(name string) (System, Target, error) {
	target, err := s.Target(name)
	if err != nil {
		return System{}, Target{}, err
	}
	if target.Kind != TargetSandbox {
		return s, target, nil
	}
	under := func(path string) string {
		if path == "" {
			return ""
		}
		return filepath.Join(target.Root, path)
	}
	port := target.PortBase
	s.Databases = slices.Clone(s.Databases)
	for i := range s.Databases {
		d := &s.Databases[i]
		d.DataDir, d.ConfigDir = under(d.DataDir), under(d.ConfigDir)
		d.Host, d.Port, d.Service, d.Standby = loopback, port, "", nil
		port++
	}
	s.Caches = slices.Clone(s.Caches)
	for i := range s.Caches {
		c := &s.Caches[i]
		c.DataDir, c.Config = under(c.DataDir), under(c.Config)
		c.Address, c.Service = net.JoinHostPort(loopback, strconv.Itoa(port)), ""
		port++
	}
	s.Files = rooted(s.Files, under)
	s.Configurations = rooted(s.Configurations, under)
	s.Services, s.Migrations, s.Schedules = target.Services, target.Migrations, nil
	own := slices.DeleteFunc(slices.Clone(s.Checks), func(c Check) bool { return c.Kind != CheckSQL && c.Kind != CheckRedis })
	s.Checks = append(own, target.Checks...)
	return s, target, nil
}

func rooted(sets []FileSet, under func(string) string) []FileSet {
	sets = slices.Clone(sets)
	for i := range sets {
		sets[i].Root = under(sets[i].Root)
	}
	return sets
}
