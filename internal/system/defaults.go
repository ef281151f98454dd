package system

import (
	"cmp"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The objectives of the seed, and what it leaves open: a cache counts like a
// database, files may take as long as the critical components together, and
// configuration as long as the application that needs it.
func seedObjectives() Objectives {
	const minute, hour = Duration(time.Minute), Duration(time.Hour)
	return Objectives{
		RTO: RTO{
			Critical: 30 * minute, Database: 15 * minute, Cache: 15 * minute, Files: 30 * minute,
			Configuration: 10 * minute, Application: 10 * minute, System: 60 * minute,
		},
		RPO: RPO{Database: hour, Cache: hour, Files: 24 * hour, Configuration: hour},
	}
}

// applyDefaults fills what the file leaves open.
func (s *System) applyDefaults() {
	s.defaultObjectives()
	setDefault(&s.Backup.Compression, CompressionZstd)
	setDefault(&s.Backup.Retention, Duration(30*day))
	setDefault(&s.Limits.Memory, 192<<20)
	setDefault(&s.Limits.Parallel, 2*runtime.NumCPU())

	for i := range s.Stores {
		s.Stores[i].Prefix = strings.Trim(s.Stores[i].Prefix, "/")
	}
	for i := range s.Databases {
		d := &s.Databases[i]
		setDefault(&d.Cluster, d.Name)
		setDefault(&d.Database, d.Name)
		setDefault(&d.Compare, CompareFull)
		if d.Standby != nil {
			setDefault(&d.Standby.Lag, Duration(time.Minute))
		}
	}
	for i := range s.Stores {
		if s.Stores[i].Replica != "" {
			setDefault(&s.Stores[i].Replication, ReplicationLifeboat)
		}
	}
	defaultServices(s.Services, ServiceSystemd)
	defaultMigrations(s.Migrations)
	defaultChecks(s.Checks)
	for i := range s.Schedules {
		s.Schedules[i].applyDefaults()
	}
	s.defaultTargets()
}

func defaultServices(services []Service, kind ServiceKind) {
	for i := range services {
		v := &services[i]
		setDefault(&v.Role, RoleApplication)
		setDefault(&v.Kind, kind)
		if v.Kind != ServiceCommand {
			setDefault(&v.Unit, v.Name)
		}
		setDefault(&v.Timeout, Duration(time.Minute))
	}
}

func defaultMigrations(migrations []Migration) {
	for i := range migrations {
		setDefault(&migrations[i].Timeout, Duration(10*time.Minute))
	}
}

func defaultChecks(checks []Check) {
	for i := range checks {
		c := &checks[i]
		if c.Kind == CheckHTTP {
			setDefault(&c.Expect, 200)
		}
		setDefault(&c.Timeout, Duration(5*time.Second))
		setDefault(&c.Within, Duration(time.Minute))
	}
}

func (s *System) defaultObjectives() {
	seed, o := seedObjectives(), &s.Objectives
	setDefault(&o.RTO.Critical, seed.RTO.Critical)
	setDefault(&o.RTO.Database, seed.RTO.Database)
	setDefault(&o.RTO.Cache, seed.RTO.Cache)
	setDefault(&o.RTO.Files, seed.RTO.Files)
	setDefault(&o.RTO.Configuration, seed.RTO.Configuration)
	setDefault(&o.RTO.Application, seed.RTO.Application)
	setDefault(&o.RTO.System, seed.RTO.System)
	setDefault(&o.RPO.Database, seed.RPO.Database)
	setDefault(&o.RPO.Cache, seed.RPO.Cache)
	setDefault(&o.RPO.Files, seed.RPO.Files)
	setDefault(&o.RPO.Configuration, seed.RPO.Configuration)
	for i := range s.Databases {
		setDefault(&s.Databases[i].RTO, o.RTO.Database)
		setDefault(&s.Databases[i].RPO, o.RPO.Database)
	}
	for i := range s.Caches {
		setDefault(&s.Caches[i].RTO, o.RTO.Cache)
		setDefault(&s.Caches[i].RPO, o.RPO.Cache)
	}
	for i := range s.Files {
		setDefault(&s.Files[i].RTO, o.RTO.Files)
		setDefault(&s.Files[i].RPO, o.RPO.Files)
	}
	for i := range s.Configurations {
		setDefault(&s.Configurations[i].RTO, o.RTO.Configuration)
		setDefault(&s.Configurations[i].RPO, o.RPO.Configuration)
	}
}

// defaultTargets adds the production target when none is written down.
func (s *System) defaultTargets() {
	production := false
	for i := range s.Targets {
		t := &s.Targets[i]
		if t.Kind == TargetProduction {
			production = true
			setDefault(&t.Undo, Duration(7*day))
		} else {
			setDefault(&t.Compare, CompareFull)
		}
		defaultServices(t.Services, ServiceCommand)
		defaultMigrations(t.Migrations)
		defaultChecks(t.Checks)
	}
	if !production {
		s.Targets = append(s.Targets, Target{Name: string(TargetProduction), Kind: TargetProduction, Undo: Duration(7 * day)})
	}
}

// makeAbsolute lets every relative path start from the configuration's directory.
func (s *System) makeAbsolute(dir string) {
	under := func(base string, paths ...*string) {
		for _, path := range paths {
			if *path != "" && !filepath.IsAbs(*path) {
				*path = filepath.Join(base, *path)
			} else if *path != "" {
				*path = filepath.Clean(*path)
			}
		}
	}
	secret := func(refs ...*SecretRef) {
		for _, ref := range refs {
			if path, ok := strings.CutPrefix(string(*ref), fileScheme); ok && path != "" {
				under(dir, &path)
				*ref = SecretRef(fileScheme + path)
			}
		}
	}
	// A program named without a slash is looked for in PATH.
	program := func(base string, argv []string) {
		if len(argv) > 0 && strings.Contains(argv[0], "/") {
			under(base, &argv[0])
		}
	}
	for i := range s.Stores {
		secret(&s.Stores[i].AccessKey, &s.Stores[i].SecretKey)
		under(dir, &s.Stores[i].CACert)
	}
	for i := range s.Keys.Encryption {
		secret(&s.Keys.Encryption[i])
	}
	secret(&s.Temporal.PayloadKey)
	for i := range s.Temporal.PayloadKeys {
		secret(&s.Temporal.PayloadKeys[i])
	}
	for i := range s.Databases {
		d := &s.Databases[i]
		secret(&d.Connection)
		if d.Standby != nil {
			secret(&d.Standby.Connection)
		}
		under(dir, &d.DataDir, &d.ConfigDir, &d.BinDir, &d.Socket)
	}
	for i := range s.Caches {
		c := &s.Caches[i]
		secret(&c.Password)
		under(dir, &c.DataDir, &c.Config, &c.BinDir)
	}
	for i := range s.Files {
		under(dir, &s.Files[i].Root)
	}
	for i := range s.Configurations {
		under(dir, &s.Configurations[i].Root)
	}
	run := func(services []Service, migrations []Migration, checks []Check) {
		for i := range services {
			v := &services[i]
			under(dir, &v.Project)
			program(dir, v.Start)
			program(dir, v.Stop)
			program(dir, v.Status)
		}
		for i := range migrations {
			m := &migrations[i]
			if m.Dir == "" {
				m.Dir = dir
			}
			under(dir, &m.Dir)
			program(m.Dir, m.Command)
		}
		for i := range checks {
			program(dir, checks[i].Command)
		}
	}
	run(s.Services, s.Migrations, s.Checks)
	for i := range s.Targets {
		t := &s.Targets[i]
		under(dir, &t.Root)
		run(t.Services, t.Migrations, t.Checks)
	}
}

func setDefault[T comparable](value *T, otherwise T) { *value = cmp.Or(*value, otherwise) }
