package system

import (
	"slices"
	"strings"
)

// bucketShape are S3's rules for bucket names.
var bucketShape = newPattern(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`) //nolint:gochecknoglobals // never changed, like what regexp.MustCompile gives

func (v *validation) stores() {
	if len(v.Stores) == 0 {
		v.add("stores", "add a store with name, bucket and region", "no store is configured")
		return
	}
	known := named(v.Stores, func(s Store) string { return s.Name })
	v.distinct("stores", known)
	for i, s := range v.Stores {
		v.name(at("stores", i, "name"), s.Name)
		if bucket := at("stores", i, "bucket"); v.required(bucket, s.Bucket) && !bucketShape.matches(s.Bucket) {
			v.add(bucket, "3 to 63 lower-case letters, digits, dots and hyphens", "%q can't be a bucket's name", s.Bucket)
		}
		v.required(at("stores", i, "region"), s.Region)
		if s.Endpoint != "" {
			v.url(at("stores", i, "endpoint"), s.Endpoint)
		}
		if s.AccessKey.Empty() != s.SecretKey.Empty() {
			v.add(at("stores", i, ""), "give both, or none to use the SDK's own chain", "access_key and secret_key belong together")
		}
		v.replica(i, s, known)
		if s.Replica != "" {
			v.oneOf(at("stores", i, "replication"), string(s.Replication), string(ReplicationLifeboat), string(ReplicationNative))
		} else if s.Replication != "" {
			v.add(at("stores", i, "replication"), "name the replica, or remove it", "there is no replica to bring anything to")
		}
		for j, other := range v.Stores[:i] {
			if s.Bucket != "" && s.Endpoint == other.Endpoint && s.Bucket == other.Bucket && within(s.Prefix+"/", other.Prefix+"/") {
				v.add(at("stores", i, "bucket"), "give each store its own bucket or prefix", "lies in the same place as stores[%d]", j)
			}
		}
	}
	if !slices.ContainsFunc(v.Stores, func(s Store) bool {
		return !slices.ContainsFunc(v.Stores, func(o Store) bool { return o.Replica == s.Name })
	}) {
		v.add("stores", "one store must be nobody's replica", "there is no primary store: every store is the replica of another")
	}
}

// replica checks the reference and follows the chain, which must end.
func (v *validation) replica(i int, s Store, known []string) {
	path := at("stores", i, "replica")
	if s.Replica == "" || !v.refer(path, "store", s.Replica, known) {
		return
	}
	chain := []string{s.Name}
	for next := s.Replica; next != ""; {
		chain = append(chain, next)
		if next == s.Name {
			v.add(path, "a replica must not lead back to its source", "replicas form a circle: %s", strings.Join(chain, " → "))
			return
		}
		if len(chain) > len(known) {
			return // the circle is reported where it closes
		}
		found := slices.Index(known, next)
		if found < 0 {
			return
		}
		next = v.Stores[found].Replica
	}
}

// within says whether one prefix, both ending in "/", holds the other.
func within(a, b string) bool {
	a, b = strings.TrimPrefix(a, "/"), strings.TrimPrefix(b, "/")
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}
