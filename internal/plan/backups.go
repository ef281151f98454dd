package plan

import (
	"regexp"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// backupKey is a backup's key (docs/FORMAT.md, section 1): folder, day, and a
// name that begins with the component's.
var backupKey = regexp.MustCompile(`^([a-z]+)-backups/\d{4}/\d{2}/\d{2}/([a-z0-9][a-z0-9_-]{0,62})_([a-z]+)_backup_\d{8}_\d{6}\.[a-z0-9.]+$`)

// ComponentOf gives the ID of the component that a backup is of, as its key says
// it. InputInvalid: it is no backup's key.
func ComponentOf(key string) (string, error) {
	part := backupKey.FindStringSubmatch(key)
	kinds := map[string]system.ComponentKind{
		"database/db": system.KindDatabase, "redis/redis": system.KindCache,
		"file/file": system.KindFiles, "config/config": system.KindConfiguration,
	}
	if part != nil {
		if kind, ok := kinds[part[1]+"/"+part[3]]; ok {
			return system.ComponentID(kind, part[2]), nil
		}
	}
	return "", fault.Newf(fault.InputInvalid, "read recovery point", key, "this is not the key of a backup").
		WithHint("list the keys with: lifeboat backups list")
}

// IsDump says whether the key is that of a dump of a database, which no WAL leads on from.
func IsDump(key string) bool {
	return strings.HasPrefix(key, "database-backups/") && (strings.HasSuffix(key, ".sql.gz") || strings.HasSuffix(key, ".dump"))
}

// checkDumps refuses what no dump can do: go on to a point, and be restored where
// no server runs yet.
func checkDumps(to Point, target system.Target, components []system.Component, backups map[string]string) error {
	for _, c := range components {
		switch key := backups[c.ID]; {
		case !IsDump(key):
		case to.LSN != "" || to.Name != "" || !to.Time.IsZero():
			return fault.Newf(fault.InputInvalid, "read recovery point", key, "a dump is one moment, and can't be taken to %s", to).
				WithHint("recover to the point from a base backup: lifeboat recover database --to %s; or to the dump alone: --to backup:%s", to, key)
		case target.Kind == system.TargetSandbox:
			return fault.Newf(fault.InputInvalid, "plan recovery of", key, "a sandbox has no server to restore a dump into").
				WithHint("recover to production: it is restored and verified beside the living database, and lifeboat abort leaves that as it was")
		}
	}
	return nil
}

// backups gives the backup of each component for which one is named, by the
// component's ID: what To and Backups name.
func (o Options) backups(components []system.Component) (map[string]string, error) {
	keys := o.Backups
	point, err := ParsePoint(o.To)
	if err != nil {
		return nil, err
	}
	if point.Backup != "" {
		keys = append([]string{point.Backup}, keys...)
	}
	known := map[string]bool{}
	for _, c := range components {
		known[c.ID] = true
	}
	named := map[string]string{}
	for _, key := range keys {
		key = strings.TrimSuffix(key, "/")
		id, err := ComponentOf(key)
		if err != nil {
			return nil, err
		}
		if !known[id] {
			return nil, fault.Newf(fault.InputInvalid, "read recovery point", key, "it is a backup of %s, which is not recovered here", id).
				WithHint("recover that component, or the system; see the components with: lifeboat config check")
		}
		if other, twice := named[id]; twice {
			return nil, fault.Newf(fault.InputInvalid, "read recovery point", key, "%s is to be recovered from %s already", id, other).
				WithHint("name one backup for each component")
		}
		named[id] = key
	}
	return named, nil
}
