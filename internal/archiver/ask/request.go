package ask

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

// AnswerTime is how long the worker has for the file to be in the store; then the
// caller pushes it.
const AnswerTime = 20 * time.Second

const (
	// MaxMessage is the longest request and the longest answer, in bytes.
	MaxMessage = 4 << 10
	// Done is the answer when the file is in the store; any other says why it is not
	// known to be.
	Done = "done"
)

const dialTime = time.Second

// Request asks for one file of a data directory to be in its archive.
type Request struct {
	Database string `json:"database"` // as configured
	Name     string `json:"name"`     // in pg_wal
	Archive  string `json:"archive"`  // see ArchiveOf
	Device   uint64 `json:"device"`   // of the data directory
	Inode    uint64 `json:"inode"`
}

// For asks for a file in pg_wal of the data directory.
func For(s system.System, d system.Database, dataDir, name string) (Request, error) {
	archive, err := ArchiveOf(s, d)
	if err != nil {
		return Request{}, err
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return Request{}, fault.New(fault.PathFailed, "look at", dataDir, err)
	}
	r := Request{Database: d.Name, Name: name, Archive: archive}
	r.Device, r.Inode = Place(info)
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

// Place is what tells a directory from every other on this host.
func Place(info os.FileInfo) (device, inode uint64) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Dev, stat.Ino
	}
	return 0, 0
}

// Owner is the account that a file belongs to.
func Owner(info os.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return 0
}

// Peer is the account at the other end: of the one who connected or, to that one,
// of the one who listens (unix(7), SO_PEERCRED).
func Peer(conn *net.UnixConn) (int, error) {
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

// Trusted says whether an account may ask, or be believed, about a data directory of owner.
func Trusted(uid, owner int) bool { return uid == 0 || uid == os.Geteuid() || uid == owner }
