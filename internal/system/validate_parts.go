package system

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (v *validation) components() {
	if len(v.Components()) == 0 {
		v.add("", "add databases, caches, files or configurations", "nothing is protected: no component is configured")
	}
	v.distinct("databases", named(v.Databases, func(d Database) string { return d.Name }))
	v.distinct("caches", named(v.Caches, func(c Cache) string { return c.Name }))
	v.distinct("files", named(v.Files, func(f FileSet) string { return f.Name }))
	v.distinct("configurations", named(v.Configurations, func(f FileSet) string { return f.Name }))

	clusters, servers := map[string]int{}, map[string]string{}
	for i, d := range v.Databases {
		v.name(at("databases", i, "name"), d.Name)
		v.required(at("databases", i, "connection"), string(d.Connection))
		v.required(at("databases", i, "data_dir"), d.DataDir)
		v.oneOf(at("databases", i, "compare"), string(d.Compare), string(CompareFull), string(CompareNone))
		v.server(at("databases", i, "service"), d.Service, "database "+d.Name, servers)
		v.name(at("databases", i, "cluster"), d.Cluster)
		if first, twice := clusters[d.Cluster]; twice {
			v.add(at("databases", i, "cluster"), "give each cluster its own name in the WAL archive", "%q archives for databases[%d] already", d.Cluster, first)
		}
		clusters[d.Cluster] = i
		v.socket(i, d)
		v.standby(i, d)
		for j, check := range d.Verify {
			v.required(fmt.Sprintf("databases[%d].verify[%d].sql", i, j), check.SQL)
		}
		for j, table := range d.Tables {
			v.required(fmt.Sprintf("databases[%d].tables[%d]", i, j), table)
		}
		v.objectives("databases", i, Component{Critical: d.Critical, RTO: d.RTO})
	}
	for i, c := range v.Caches {
		v.name(at("caches", i, "name"), c.Name)
		if v.required(at("caches", i, "address"), c.Address) {
			v.hostPort(at("caches", i, "address"), c.Address)
		}
		v.required(at("caches", i, "data_dir"), c.DataDir)
		v.server(at("caches", i, "service"), c.Service, "cache "+c.Name, servers)
		v.objectives("caches", i, Component{Critical: c.Critical, RTO: c.RTO})
	}
	v.fileSets("files", v.Files)
	v.fileSets("configurations", v.Configurations)
}

func (v *validation) socket(i int, d Database) {
	if d.Socket == "" {
		return
	}
	path := at("databases", i, "socket")
	if len(d.Socket) > maxSocket {
		v.add(path, "choose a shorter one, such as /run/lifeboat/wal.sock", "has %d bytes; a socket's path has at most %d", len(d.Socket), maxSocket)
	}
	if d.DataDir != "" && nested(d.Socket, d.DataDir) {
		v.add(path, "keep it outside: a recovery replaces the directory", "%s lies in data_dir (%s)", d.Socket, d.DataDir)
	}
	for j, other := range v.Databases[:i] {
		if other.Socket == d.Socket {
			v.add(path, "give each database its own socket", "%s is that of databases[%d]", d.Socket, j)
		}
	}
}

// mostLag is the longest that a backup may wait for its standby.
const mostLag = Duration(time.Hour)

func (v *validation) standby(i int, d Database) {
	if d.Standby == nil {
		return
	}
	path := at("databases", i, "standby.connection")
	if v.required(path, string(d.Standby.Connection)) && d.Standby.Connection == d.Connection {
		v.add(path, "name the secret that leads to the standby, or remove standby", "%s is the connection of the primary", d.Connection)
	}
	if d.Standby.Lag > mostLag {
		v.add(at("databases", i, "standby.lag"), "the default is 1m: a backup waits so long, and is taken from the primary then", "%s is longer than %s", d.Standby.Lag, mostLag)
	}
}

func (v *validation) fileSets(list string, sets []FileSet) {
	for i, f := range sets {
		v.name(at(list, i, "name"), f.Name)
		v.required(at(list, i, "root"), f.Root)
		for j, pattern := range f.Include {
			v.glob(fmt.Sprintf("%s[%d].include[%d]", list, i, j), pattern)
		}
		for j, pattern := range f.Exclude {
			v.glob(fmt.Sprintf("%s[%d].exclude[%d]", list, i, j), pattern)
		}
		v.objectives(list, i, Component{Critical: f.Critical, RTO: f.RTO})
	}
}

// server checks that a component's server is a service of its own.
func (v *validation) server(path, name, owner string, taken map[string]string) {
	if !v.required(path, name) {
		return
	}
	known := named(v.Services, func(s Service) string { return s.Name })
	if !v.refer(path, "service", name, known) {
		return
	}
	if role := v.Services[slices.Index(known, name)].Role; role != RoleServer {
		v.add(path, "write role: server at that service", "service %q has the role %s: it would be stopped and started as an application", name, role)
	}
	if other, twice := taken[name]; twice {
		v.add(path, "give each server its own service", "service %q is the server of %s already", name, other)
	}
	taken[name] = owner
}

func (v *validation) services(list string, services []Service) {
	v.distinct(list, named(services, func(s Service) string { return s.Name }))
	for i, s := range services {
		v.name(at(list, i, "name"), s.Name)
		v.oneOf(at(list, i, "role"), string(s.Role), string(RoleApplication), string(RoleServer))
		v.timeout(at(list, i, "timeout"), s.Timeout)
		if !v.oneOf(at(list, i, "kind"), string(s.Kind), string(ServiceSystemd), string(ServiceCompose), string(ServiceCommand)) {
			continue
		}
		if s.Kind == ServiceCommand {
			v.argv(at(list, i, "start"), s.Start)
			v.argv(at(list, i, "stop"), s.Stop)
			v.argv(at(list, i, "status"), s.Status)
			v.unused(list, i, string(s.Kind), "unit", s.Unit, "project", s.Project)
			continue
		}
		v.required(at(list, i, "unit"), s.Unit)
		v.unused(list, i, string(s.Kind), "start", strings.Join(s.Start, " "), "stop", strings.Join(s.Stop, " "), "status", strings.Join(s.Status, " "))
		if s.Kind == ServiceCompose {
			v.required(at(list, i, "project"), s.Project)
		} else {
			v.unused(list, i, string(s.Kind), "project", s.Project)
		}
	}
}

// unused reports keys (name, value, name, value, …) that mean nothing for this kind.
func (v *validation) unused(list string, i int, kind string, pairs ...string) {
	for p := 0; p < len(pairs); p += 2 {
		if pairs[p+1] != "" {
			v.add(at(list, i, pairs[p]), "remove it, or correct the kind", "%s means nothing for kind %s", pairs[p], kind)
		}
	}
}

func (v *validation) argv(path string, argv []string) {
	if len(argv) == 0 || argv[0] == "" {
		key := path[strings.LastIndex(path, ".")+1:]
		v.add(path, `write the program and its arguments as a list: ["alembic", "upgrade", "head"]`, "%s is required", key)
	}
}

func (v *validation) migrations(list string, migrations []Migration) {
	v.distinct(list, named(migrations, func(m Migration) string { return m.Name }))
	databases := named(v.Databases, func(d Database) string { return d.Name })
	for i, m := range migrations {
		v.name(at(list, i, "name"), m.Name)
		if v.required(at(list, i, "database"), m.Database) {
			v.refer(at(list, i, "database"), "database", m.Database, databases)
		}
		v.argv(at(list, i, "command"), m.Command)
		v.timeout(at(list, i, "timeout"), m.Timeout)
	}
}

func (v *validation) checks(list string, checks []Check) {
	v.distinct(list, named(checks, func(c Check) string { return c.Name }))
	kinds := []string{string(CheckHTTP), string(CheckTCP), string(CheckSQL), string(CheckRedis), string(CheckCommand)}
	for i, c := range checks {
		v.name(at(list, i, "name"), c.Name)
		v.timeout(at(list, i, "timeout"), c.Timeout)
		v.timeout(at(list, i, "within"), c.Within)
		if !v.oneOf(at(list, i, "kind"), string(c.Kind), kinds...) {
			continue
		}
		keys := map[CheckKind][]string{
			CheckHTTP: {"url", c.URL, "contains", c.Contains}, CheckTCP: {"address", c.Address}, CheckRedis: {"cache", c.Cache},
			CheckSQL: {"database", c.Database, "sql", c.SQL}, CheckCommand: {"command", strings.Join(c.Command, " ")},
		}
		for _, kind := range kinds {
			if CheckKind(kind) != c.Kind {
				v.unused(list, i, string(c.Kind), keys[CheckKind(kind)]...)
			}
		}
		v.check(list, i, c)
	}
}

func (v *validation) check(list string, i int, c Check) {
	switch c.Kind {
	case CheckHTTP:
		if at := at(list, i, "url"); v.required(at, c.URL) {
			v.url(at, c.URL)
		}
		if c.Expect < 100 || c.Expect > 599 {
			v.add(at(list, i, "expect"), "the usual status is 200", "%d is no HTTP status", c.Expect)
		}
	case CheckTCP:
		if at := at(list, i, "address"); v.required(at, c.Address) {
			v.hostPort(at, c.Address)
		}
	case CheckSQL:
		if at := at(list, i, "database"); v.required(at, c.Database) {
			v.refer(at, "database", c.Database, named(v.Databases, func(d Database) string { return d.Name }))
		}
		v.required(at(list, i, "sql"), c.SQL)
	case CheckRedis:
		if at := at(list, i, "cache"); v.required(at, c.Cache) {
			v.refer(at, "cache", c.Cache, named(v.Caches, func(c Cache) string { return c.Name }))
		}
	case CheckCommand:
		v.argv(at(list, i, "command"), c.Command)
	}
}

func (v *validation) hostPort(path, address string) {
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || bad != nil || number == 0 {
		v.add(path, "write host:port, such as 127.0.0.1:6379", "%q is no address", address)
	}
}

func (v *validation) url(path, text string) {
	parsed, err := url.Parse(text)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" {
		v.add(path, "write it whole, such as https://localhost:8000/health", "is no http or https address")
	} else if parsed.User != nil {
		v.add(path, "take the user and password out of the address", "holds credentials: they would stand in histories and reports")
	}
}
