package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

const (
	dialTime    = time.Second
	requestTime = 2 * time.Second  // for a request to be read
	answerTime  = 20 * time.Second // for the file to be in the store; then the caller pushes it
	maxMessage  = 4 << 10

	done = "done" // the answer when the file is in the store; any other says why it is not known to be
)

// Request asks for one file of a data directory to be in its archive.
type Request struct {
	Database string `json:"database"` // as configured
	Name     string `json:"name"`     // in pg_wal
	Archive  string `json:"archive"`  // see ArchiveOf
	Device   uint64 `json:"device"`   // of the data directory
	Inode    uint64 `json:"inode"`
}

// RequestFor asks for a file in pg_wal of the data directory.
func RequestFor(s system.System, d system.Database, dataDir, name string) (Request, error) {
	archive, err := ArchiveOf(s, d)
	if err != nil {
		return Request{}, err
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return Request{}, fault.New(fault.PathFailed, "look at", dataDir, err)
	}
	r := Request{Database: d.Name, Name: name, Archive: archive}
	r.Device, r.Inode = place(info)
	return r, nil
}

// ArchiveOf tells archives apart: two configurations that agree in it push to one
// place with the same keys. It holds no secret.
func ArchiveOf(s system.System, d system.Database) (string, error) {
	text, err := json.Marshal([]any{s.Name, s.Stores, s.Keys, d.Cluster})
	if err != nil {
		return "", fault.New(fault.ConfigInvalid, "read configuration", s.Name, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func place(info os.FileInfo) (device, inode uint64) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Dev, stat.Ino
	}
	return 0, 0
}

func owner(info os.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return 0
}

// peer is the account at the other end: of the one who connected or, to that one,
// of the one who listens (unix(7), SO_PEERCRED).
func peer(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var found *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { found, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return int(found.Uid), nil
}

// trusted says whether an account may ask, or be believed, about a data directory of owner.
func trusted(uid, owner int) bool { return uid == 0 || uid == os.Geteuid() || uid == owner }
