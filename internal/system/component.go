package system

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// ComponentKind is the kind of a component, as it stands in IDs and reports.
type ComponentKind string

// Kinds of components that are backed up and recovered.
const (
	KindDatabase      ComponentKind = "database"
	KindCache         ComponentKind = "cache"
	KindFiles         ComponentKind = "files"
	KindConfiguration ComponentKind = "configuration"
)

// Folder is where the backups of components of a kind lie in a store (docs/FORMAT.md,
// section 1); "" for what is no kind.
func (k ComponentKind) Folder() string {
	switch k {
	case KindDatabase:
		return "database-backups"
	case KindCache:
		return "redis-backups"
	case KindFiles:
		return "file-backups"
	case KindConfiguration:
		return "config-backups"
	}
	return ""
}

// KindOfFolder says what lies in such a folder; of another one, its name.
func KindOfFolder(folder string) ComponentKind {
	for _, kind := range ComponentKinds() {
		if kind.Folder() == folder {
			return kind
		}
	}
	return ComponentKind(folder)
}

// Component is one part that is backed up and recovered, with its objectives.
type Component struct {
	ID       string        `json:"id"` // "database/frende", unique in the system
	Kind     ComponentKind `json:"kind"`
	Name     string        `json:"name"`
	Critical bool          `json:"critical"`
	RTO      Duration      `json:"rto"`
	RPO      Duration      `json:"rpo"`
}

// ComponentID gives "database/frende".
func ComponentID(kind ComponentKind, name string) string { return string(kind) + "/" + name }

// ComponentKinds lists the kinds in the order in which components are listed.
func ComponentKinds() []ComponentKind {
	return []ComponentKind{KindDatabase, KindCache, KindFiles, KindConfiguration}
}

// Components lists the components: databases, caches, files, configurations, each in the order of the file.
func (s System) Components() []Component {
	var all []Component
	add := func(kind ComponentKind, name string, critical bool, rto, rpo Duration) {
		all = append(all, Component{ID: ComponentID(kind, name), Kind: kind, Name: name, Critical: critical, RTO: rto, RPO: rpo})
	}
	for _, d := range s.Databases {
		add(KindDatabase, d.Name, d.Critical, d.RTO, d.RPO)
	}
	for _, c := range s.Caches {
		add(KindCache, c.Name, c.Critical, c.RTO, c.RPO)
	}
	for _, f := range s.Files {
		add(KindFiles, f.Name, f.Critical, f.RTO, f.RPO)
	}
	for _, f := range s.Configurations {
		add(KindConfiguration, f.Name, f.Critical, f.RTO, f.RPO)
	}
	return all
}

// Component finds the component of this kind and name. An empty name means the only one of
// its kind. See pick.
func (s System) Component(kind ComponentKind, name string) (Component, error) {
	ofKind := slices.DeleteFunc(s.Components(), func(c Component) bool { return c.Kind != kind })
	return pick(string(kind), name, ofKind, func(c Component) string { return c.Name })
}

// Database finds a database by name; an empty name means the only one. See pick.
func (s System) Database(name string) (Database, error) {
	return pick("database", name, s.Databases, func(d Database) string { return d.Name })
}

// Cache finds a cache by name; an empty name means the only one. See pick.
func (s System) Cache(name string) (Cache, error) {
	return pick("cache", name, s.Caches, func(c Cache) string { return c.Name })
}

// FileSet finds a file set by name; an empty name means the only one. See pick.
func (s System) FileSet(name string) (FileSet, error) {
	return pick("files", name, s.Files, func(f FileSet) string { return f.Name })
}

// Configuration finds a configuration set by name; an empty name means the only one. See pick.
func (s System) Configuration(name string) (FileSet, error) {
	return pick("configuration", name, s.Configurations, func(f FileSet) string { return f.Name })
}

// Service finds a service by name. See pick.
func (s System) Service(name string) (Service, error) {
	return pick("service", name, s.Services, func(v Service) string { return v.Name })
}

// Applications lists the services of role "application", in the order of the
// file: the order to start them in. They stop in the reverse order.
func (s System) Applications() []Service {
	return slices.DeleteFunc(slices.Clone(s.Services), func(v Service) bool { return v.Role != RoleApplication })
}

// Target finds a target by name; an empty name means the production target. See pick.
func (s System) Target(name string) (Target, error) {
	if name == "" {
		for _, target := range s.Targets {
			if target.Kind == TargetProduction {
				return target, nil
			}
		}
	}
	return pick("target", name, s.Targets, func(t Target) string { return t.Name })
}

// StoreNamed finds a store by name. See pick.
func (s System) StoreNamed(name string) (Store, error) {
	return pick("store", name, s.Stores, func(v Store) string { return v.Name })
}

// Primary gives the first store that is no other store's replica. It fails with ConfigInvalid when there is none.
func (s System) Primary() (Store, error) {
	for _, candidate := range s.Stores {
		if !slices.ContainsFunc(s.Stores, func(v Store) bool { return v.Replica == candidate.Name }) {
			return candidate, nil
		}
	}
	return Store{}, fault.Newf(fault.ConfigInvalid, "find primary store", s.Name, "no store is configured that is no replica")
}

// ReplicaOf gives the store that holds the copy of this one; false when it has none.
func (s System) ReplicaOf(store Store) (Store, bool) {
	for _, candidate := range s.Stores {
		if store.Replica != "" && candidate.Name == store.Replica {
			return candidate, true
		}
	}
	return Store{}, false
}

// Alone gives the system as it is when the named store is all that is left:
// read and written as the primary, without a replica. It is pure, and fails with
// NameUnknown for a store that is not configured.
func (s System) Alone(store string) (System, error) {
	left, err := s.StoreNamed(store)
	if err != nil {
		return System{}, err
	}
	left.Replica = ""
	s.Stores, s.From = []Store{left}, store
	return s, nil
}

// Sandbox gives the target that drills go to: the one named, or the only sandbox
// when name is empty. A target that is none is TargetRefused; see pick for the others.
func (s System) Sandbox(name string) (Target, error) {
	if target, err := s.Target(name); name != "" && err == nil && target.Kind != TargetSandbox {
		return Target{}, fault.Newf(fault.TargetRefused, "find sandbox", name, "it is of kind %s: a drill never goes there", target.Kind).
			WithHint("name a target of kind sandbox")
	}
	sandboxes := slices.DeleteFunc(slices.Clone(s.Targets), func(t Target) bool { return t.Kind != TargetSandbox })
	return pick("sandbox", name, sandboxes, func(t Target) string { return t.Name })
}

// pick finds one by its name, or the only one when the name is empty. It fails
// with NameUnknown, whose hint lists what is configured, and with InputInvalid
// where a name is needed and none is given.
func pick[T any](what, name string, all []T, nameOf func(T) string) (T, error) {
	var none T
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = nameOf(one)
		if names[i] == name && name != "" {
			return one, nil
		}
	}
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	op := "find " + what
	switch {
	case len(all) == 0:
		kind := fault.InputInvalid
		if name != "" {
			kind = fault.NameUnknown
		}
		return none, fault.Newf(kind, op, name, "the configuration has no %s", what)
	case name == "":
		return none, fault.Newf(fault.InputInvalid, op, "", "there are %d, so a name is needed", len(all)).
			WithHint("name one of: %s", strings.Join(names, ", "))
	default:
		hint := "configured are: " + strings.Join(names, ", ")
		if near := Nearest(name, names); near != "" {
			hint = "did you mean " + near + "? " + hint
		}
		return none, fault.New(fault.NameUnknown, op, name, nil).WithHint("%s", hint)
	}
}

// socketFolder is made by the worker's unit (contrib/systemd).
const socketFolder = "/run/lifeboat"

// maxSocket is the longest path of a Unix socket, with room for the name under
// which it is made (unix(7): 108 bytes with the zero at their end).
const maxSocket = 96

// heartbeat is half of the archive_timeout that is advised: each segment that it
// forces holds a commit.
const heartbeat = 30 * time.Second

// Beats is how often the worker ends an empty transaction on the database; 0: never.
func (d Database) Beats() time.Duration {
	if d.Heartbeat == nil {
		return heartbeat
	}
	return d.Heartbeat.Std()
}

// WALSocket is where the worker takes the WAL of a database from wal-push.
func (s System) WALSocket(d Database) string {
	if d.Socket != "" {
		return d.Socket
	}
	path := fmt.Sprintf("%s/wal-%s-%s.sock", socketFolder, s.Name, d.Name)
	if len(path) > maxSocket {
		sum := sha256.Sum256([]byte(s.Name + "/" + d.Name))
		path = fmt.Sprintf("%s/wal-%x.sock", socketFolder, sum[:16])
	}
	return path
}
