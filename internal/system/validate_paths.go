package system

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func (v *validation) targets() {
	v.distinct("targets", named(v.Targets, func(t Target) string { return t.Name }))
	production := 0
	for i, t := range v.Targets {
		v.name(at("targets", i, "name"), t.Name)
		if !v.oneOf(at("targets", i, "kind"), string(t.Kind), string(TargetProduction), string(TargetSandbox)) {
			continue
		}
		if t.Kind == TargetSandbox {
			v.sandbox(i, t)
			continue
		}
		production++
		if production > 1 {
			v.add(at("targets", i, "kind"), "make it a sandbox", "there is a production target already")
		}
		v.unused("targets", i, string(t.Kind), "root", t.Root)
		if t.PortBase != 0 {
			v.add(at("targets", i, "port_base"), "remove it", "port_base means nothing for kind production")
		}
		v.unused("targets", i, string(t.Kind), "compare", string(t.Compare))
		for key, given := range map[string]int{"services": len(t.Services), "migrations": len(t.Migrations), "checks": len(t.Checks)} {
			if given > 0 {
				v.add(at("targets", i, key), "production's stand at the top of the file", "%s means nothing for kind production", key)
			}
		}
	}
}

// servers is the number of ports that a sandbox takes.
func (v *validation) servers() int { return len(v.Databases) + len(v.Caches) }

func (v *validation) sandbox(i int, t Target) {
	v.required(at("targets", i, "root"), t.Root)
	v.oneOf(at("targets", i, "compare"), string(t.Compare), string(CompareFull), string(CompareNone))
	v.rehearsal(i, t)
	last := t.PortBase + v.servers() - 1
	path := at("targets", i, "port_base")
	if t.PortBase < 1024 || last > 65535 {
		v.add(path, "choose a free range above 1024, such as 25432", "%d leaves no room for the ports of %d servers", t.PortBase, v.servers())
		return
	}
	for _, c := range v.Caches {
		_, text, err := net.SplitHostPort(c.Address)
		if port, bad := strconv.Atoi(text); err == nil && bad == nil && port >= t.PortBase && port <= last {
			v.add(path, "choose a free range", "ports %d to %d hold the one of cache %s", t.PortBase, last, c.Name)
		}
	}
	for j, other := range v.Targets[:i] {
		if other.Kind == TargetSandbox && t.PortBase <= other.PortBase+v.servers()-1 && other.PortBase <= last {
			v.add(path, "give each sandbox its own range", "ports %d to %d overlap those of targets[%d]", t.PortBase, last, j)
		}
	}
}

// rehearsal checks what a sandbox runs, and that none of it is production's.
func (v *validation) rehearsal(i int, t Target) {
	services := at("targets", i, "services")
	v.services(services, t.Services)
	v.migrations(at("targets", i, "migrations"), t.Migrations)
	v.checks(at("targets", i, "checks"), t.Checks)
	for j, s := range t.Services {
		if s.Kind == ServiceSystemd || s.Kind == ServiceCompose {
			v.add(at(services, j, "kind"), "write start, stop and status commands for the sandbox", "a sandbox's services are of kind command: a unit is production's")
		}
		for _, other := range v.Services {
			if len(s.Start) > 0 && (slices.Equal(s.Start, other.Start) || slices.Equal(s.Stop, other.Stop)) {
				v.add(at(services, j, ""), "give it commands of its own", "it is started or stopped by the commands of production's service %s", other.Name)
			}
		}
	}
	for j, c := range t.Checks {
		for _, other := range v.Checks {
			if (c.URL != "" && c.URL == other.URL) || (c.Address != "" && c.Address == other.Address) {
				v.add(at(at("targets", i, "checks"), j, ""), "ask the sandbox's own address", "it asks where production's check %s asks", other.Name)
			}
		}
	}
}

// place is a directory that a recovery replaces, or a sandbox fills.
type place struct{ path, dir string }

// paths reports directories that lie in one another: a recovery of one would
// replace the other, and a sandbox would reach production.
func (v *validation) paths() {
	var places []place
	add := func(path, dir string) {
		if dir == "" {
			return // reported as required
		}
		if !filepath.IsAbs(dir) {
			v.add(path, "write an absolute path", "%q is not absolute", dir)
			return
		}
		if filepath.Dir(filepath.Clean(dir)) == "/" {
			v.add(path, "name a directory further down", "%s is too near the root of the file system to be replaced as a whole", dir)
			return
		}
		for _, other := range places {
			if nested(dir, other.dir) {
				v.add(path, "give each its own directory", "%s overlaps %s (%s)", dir, other.path, other.dir)
			}
		}
		places = append(places, place{path, dir})
	}
	for i, d := range v.Databases {
		add(at("databases", i, "data_dir"), d.DataDir)
	}
	for i, c := range v.Caches {
		add(at("caches", i, "data_dir"), c.DataDir)
	}
	for i, f := range v.Files {
		add(at("files", i, "root"), f.Root)
	}
	for i, f := range v.Configurations {
		add(at("configurations", i, "root"), f.Root)
	}
	for i, t := range v.Targets {
		if t.Kind == TargetSandbox {
			add(at("targets", i, "root"), t.Root)
		}
	}
	v.serverFiles(places)
}

// serverFiles reports a server's configuration that lies where a file set or a
// sandbox goes. A configuration set may hold it: that is how it is backed up.
func (v *validation) serverFiles(places []place) {
	outside := func(path, dir string) {
		for _, other := range places {
			if dir != "" && (strings.HasPrefix(other.path, "files[") || strings.HasPrefix(other.path, "targets[")) && nested(dir, other.dir) {
				v.add(path, "keep it outside, or in a configuration set", "%s overlaps %s (%s)", dir, other.path, other.dir)
			}
		}
	}
	for i, d := range v.Databases {
		outside(at("databases", i, "config_dir"), d.ConfigDir)
	}
	for i, c := range v.Caches {
		outside(at("caches", i, "config"), c.Config)
	}
}

func nested(a, b string) bool {
	holds := func(outer, inner string) bool {
		relative, err := filepath.Rel(outer, inner)
		return err == nil && relative != ".." && !strings.HasPrefix(relative, fmt.Sprintf("..%c", filepath.Separator))
	}
	return holds(a, b) || holds(b, a)
}
