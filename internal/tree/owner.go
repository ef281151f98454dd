package tree

import (
	"os/user"
	"strconv"
	"sync"
)

// Owner says who is to own an entry. It is asked only when this process is
// root; else everything belongs to whoever runs it.
type Owner func(Entry) (uid, gid int)

// OwnerAs gives everything to one user and group.
func OwnerAs(uid, gid int) Owner {
	return func(Entry) (int, int) { return uid, gid }
}

// OwnerByName gives an entry to the user and group of this host that bear the
// names they had at the source, and falls back to the numbers, as tar does: the
// numbers of a service's account differ between hosts.
func OwnerByName() Owner {
	var mu sync.Mutex
	users, groups := map[string]int{}, map[string]int{}
	return func(e Entry) (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return resolve(users, e.Owner, e.UID, userID), resolve(groups, e.Group, e.GID, groupID)
	}
}

func resolve(known map[string]int, name string, number int, lookUp func(string) (int, bool)) int {
	if name == "" {
		return number
	}
	id, ok := known[name]
	if !ok {
		if id, ok = lookUp(name); !ok {
			id = -1
		}
		known[name] = id
	}
	if id < 0 {
		return number
	}
	return id
}

func userID(name string) (int, bool) {
	found, err := user.Lookup(name)
	if err != nil {
		return 0, false // unknown on this host: the number is what is left
	}
	id, err := strconv.Atoi(found.Uid)
	return id, err == nil
}

func groupID(name string) (int, bool) {
	found, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	id, err := strconv.Atoi(found.Gid)
	return id, err == nil
}
