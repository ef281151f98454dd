package tree

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// Twin is a file that an extracted tree shares with the older one. Its stamp changes
// with whatever changes the file.
type Twin struct {
	Path  string `json:"path"` // in the tree
	Stamp uint64 `json:"stamp"`
}

// Twins lists the files that are shared, once no more are taken over.
func (x *Extraction) Twins() []Twin {
	var twins []Twin
	for entry, stamp := range x.taken {
		if stamp != cloned {
			twins = append(twins, Twin{Path: x.c.Entries[entry].Path, Stamp: stamp})
		}
	}
	slices.SortFunc(twins, func(a, b Twin) int { return cmp.Compare(a.Path, b.Path) })
	return twins
}

// Changed names the first of the files in a tree that is no longer what was taken
// over; "": none.
func Changed(root string, twins []Twin) (string, error) {
	opened, err := os.OpenRoot(root)
	if err != nil {
		return "", fault.New(fault.PathFailed, "open directory", root, err)
	}
	defer func() { _ = opened.Close() }() // it was only looked through
	for _, twin := range twins {
		if stampAt(opened, twin.Path) != twin.Stamp {
			return twin.Path, nil
		}
	}
	return "", nil
}

// Parted names the first of the files in a tree that the older one has no more under the
// same name; "": none. Where that is so, another directory has come in the older one's place.
func Parted(root, older string, twins []Twin) (string, error) {
	here, err := os.OpenRoot(root)
	if err != nil {
		return "", fault.New(fault.PathFailed, "open directory", root, err)
	}
	defer func() { _ = here.Close() }() // it was only looked through
	there, err := os.OpenRoot(older)
	if err != nil {
		return "", fault.New(fault.PathFailed, "open directory", older, err)
	}
	defer func() { _ = there.Close() }() // as above
	for _, twin := range twins {
		one, err := here.Lstat(twin.Path)
		if err != nil {
			return twin.Path, nil
		}
		two, err := there.Lstat(twin.Path)
		if err != nil || !os.SameFile(one, two) {
			return twin.Path, nil
		}
	}
	return "", nil
}

// state is what tells one state of one file from all others: the kernel gives a file
// another ctime when its content, its names or its attributes change, and nobody can choose it.
type state struct {
	dev, ino, names   uint64
	mode, uid, gid    uint32
	size              int64
	modified, changed unix.Timespec
}

// cloned is the stamp of a file that was taken over and is not shared.
const cloned = 0

// stamp is the state as a number that is not 0. A device may have another number
// after the next boot, so it is left out.
func (s state) stamp() uint64 {
	var b []byte
	for _, part := range []uint64{
		s.ino, s.names, uint64(s.mode), uint64(s.uid), uint64(s.gid), uint64(s.size),
		uint64(s.modified.Nano()), uint64(s.changed.Nano()),
	} {
		b = binary.BigEndian.AppendUint64(b, part)
	}
	sum := sha256.Sum256(b)
	return max(1, binary.BigEndian.Uint64(sum[:8]))
}

// stampAt is the stamp of what has a name in a directory; cloned, which no file has, when nothing has it.
func stampAt(dir *os.Root, name string) uint64 {
	info, err := dir.Lstat(name)
	if err != nil {
		return cloned
	}
	found, err := stateIn(info)
	if err != nil {
		return cloned
	}
	return found.stamp()
}

func stateOf(file *os.File) (state, error) {
	info, err := file.Stat()
	if err != nil {
		return state{}, err
	}
	return stateIn(info)
}

func stateIn(info fs.FileInfo) (state, error) {
	stat, err := sysStat(info)
	if err != nil {
		return state{}, err
	}
	at := func(t syscall.Timespec) unix.Timespec { return unix.NsecToTimespec(t.Nano()) }
	return state{
		dev: stat.Dev, ino: stat.Ino, names: uint64(stat.Nlink), //nolint:unconvert // it is narrower on other machines
		mode: stat.Mode, uid: stat.Uid, gid: stat.Gid,
		size: stat.Size, modified: at(stat.Mtim), changed: at(stat.Ctim),
	}, nil
}

// onDescriptor calls do with the number of an open file.
func onDescriptor(file *os.File, do func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}
