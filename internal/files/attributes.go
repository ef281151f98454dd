package files

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/tree"
)

// mostSegments keeps a file of countless holes from filling the table; such a
// file is captured as if it had none.
const mostSegments = 50_000

// segments finds the data runs of a file that takes less space than its size.
// Nil: it has no holes, or its file system does not tell.
func segments(file *os.File, info fs.FileInfo) ([]tree.Segment, error) {
	size := info.Size()
	if size == 0 || statOf(info).Blocks*512 >= size {
		return nil, nil
	}
	found := []tree.Segment{}
	for at := int64(0); at < size; {
		data, err := file.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || data >= size { // hole to the end
			return found, nil
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || len(found) == mostSegments {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if at, err = file.Seek(data, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		at = min(at, size)
		found = append(found, tree.Segment{Offset: data, Length: at - data})
	}
	if len(found) == 1 && found[0].Length == size { // compressed, not sparse
		return nil, nil
	}
	return found, nil
}

// xattrs reads the extended attributes of an open file or directory.
func xattrs(file *os.File, entry *tree.Entry) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var readErr error
	if err := raw.Control(func(fd uintptr) { entry.Xattrs, readErr = readXattrs(int(fd)) }); err != nil {
		return err
	}
	return readErr
}

func readXattrs(fd int) (map[string][]byte, error) {
	list, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) || (err == nil && len(list) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string][]byte)
	for name := range bytes.SplitSeq(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, string(name), b) })
		if errors.Is(err, unix.ENODATA) { // removed since it was listed
			continue
		}
		if err != nil {
			return nil, err
		}
		found[string(name)] = value
	}
	return found, nil
}

// grow calls read with a buffer that is large enough: asked with none, it says
// how much; it may have grown by the next call.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		buffer := make([]byte, size)
		size, err = read(buffer)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buffer[:size], nil
	}
}

func (c *capture) xattrsOfDir(dir *os.Root, entry *tree.Entry) error {
	file, err := dir.Open(".")
	if err != nil {
		return c.failed("open directory", entry.Path, err)
	}
	if err := errors.Join(xattrs(file, entry), file.Close()); err != nil {
		return c.failed("read attributes of", entry.Path, err)
	}
	return nil
}

// names remembers the names of accounts. An account without one has "".
type names struct{ users, groups map[uint32]string }

func newNames() *names {
	return &names{users: make(map[uint32]string), groups: make(map[uint32]string)}
}

func (n *names) user(id uint32) string {
	name, ok := n.users[id]
	if !ok {
		if found, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = found.Username
		}
		n.users[id] = name
	}
	return name
}

func (n *names) group(id uint32) string {
	name, ok := n.groups[id]
	if !ok {
		if found, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = found.Name
		}
		n.groups[id] = name
	}
	return name
}
