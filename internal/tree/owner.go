package tree

import (
	"os"
	"os/user"
	"strconv"
	"sync"
)

// Owner says who is to own an entry, and whether that is the same account as at
// the source. It is asked only when this process is root; else everything
// belongs to whoever runs it. A file keeps setuid and setgid only with the same
// account: a program that ran as one account must not come back running as another.
type Owner func(Entry) (uid, gid int, same bool)

// OwnerAs gives everything to one user and group.
func OwnerAs(uid, gid int) Owner {
	return func(e Entry) (int, int, bool) { return uid, gid, uid == e.UID && gid == e.GID }
}

// OwnerByName gives an entry to the user and group of this host that bear the
// names they had at the source, and falls back to the numbers, as tar does: the
// numbers of a service's account differ between hosts.
func OwnerByName() Owner {
	users, groups := accounts{lookUp: userID}, accounts{lookUp: groupID}
	var mu sync.Mutex
	return func(e Entry) (int, int, bool) {
		mu.Lock()
		defer mu.Unlock()
		uid, sameUser := users.resolve(e.Owner, e.UID)
		gid, sameGroup := groups.resolve(e.Group, e.GID)
		return uid, gid, sameUser && sameGroup
	}
}

// ownerSelf is for a process that can't give files away.
func ownerSelf() Owner { return OwnerAs(os.Geteuid(), os.Getegid()) }

// accounts remembers the numbers of names, -1 for those this host does not know.
type accounts struct {
	lookUp func(string) (int, bool)
	known  map[string]int
}

func (a *accounts) resolve(name string, number int) (id int, same bool) {
	if name == "" {
		return number, true // it had no name there either
	}
	id, ok := a.known[name]
	if !ok {
		if id, ok = a.lookUp(name); !ok {
			id = -1
		}
		if a.known == nil {
			a.known = make(map[string]int)
		}
		a.known[name] = id
	}
	if id < 0 {
		return number, false
	}
	return id, true
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
