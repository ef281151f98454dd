package tree

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
)

// bootID names one boot of this machine's kernel (proc(5)). What a process wrote
// before it was killed is in the page cache until the next boot; after that
// only what was fsynced is sure to be there.
const bootID = "/proc/sys/kernel/random/boot_id"

// Records of a journal: a chunk's number, how many bytes it put in files, and a
// CRC-32C of both. From recordTaken on, the number is that of an entry which was taken over,
// and its stamp follows. The highest numbers mark states of the whole.
const (
	recordSize     = 16
	recordFinished = 1<<32 - 1
	recordVoid     = 1<<32 - 2
	recordSettled  = 1<<32 - 3
	recordTaken    = 1 << 31
)

// Versions of a journal: with an older tree it may tell of files that were taken over.
const (
	journalPlain = 1
	journalOlder = 2
)

// identity is the first line of a journal: records count only for an attempt
// that has the same.
type identity struct {
	Journal int    `json:"lifeboat_journal"`
	Root    string `json:"root"`
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
	Boot    string `json:"boot"`
	Backup  string `json:"backup"`
	Table   string `json:"table"`
	Older   string `json:"older,omitempty"`
}

// journal is append-only. One attempt at a time holds it, by flock.
type journal struct {
	file *os.File
	path string
}

// past is what a journal tells of earlier attempts.
type past struct {
	known    bool     // the file is a journal
	identity identity // of the attempts that wrote it
	chunks   map[int]int64
	taken    map[int]uint64 // entries, with their stamps
	settled  bool
	finished bool
	void     bool
}

// openJournal locks the journal and reads what is in it.
func openJournal(path string) (*journal, past, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, past{}, fault.New(fault.PathFailed, "create directory", filepath.Dir(path), err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, past{}, fault.New(fault.PathFailed, "open journal", path, err)
	}
	j := &journal{file: file, path: path}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, past{}, errors.Join(fault.Newf(fault.PathFailed, "lock journal", path, "another attempt is still writing: %w", err).
			WithHint("it is tried again by itself when the other attempt has ended"), file.Close())
	}
	earlier, err := j.read()
	if err != nil {
		return nil, past{}, errors.Join(err, file.Close())
	}
	return j, earlier, nil
}

// read gives what the journal says and cuts off a record that a killed attempt
// wrote half.
func (j *journal) read() (past, error) {
	in := bufio.NewReader(io.NewSectionReader(j.file, 0, 1<<62))
	line, err := in.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return past{}, nil
	}
	if err != nil {
		return past{}, fault.New(fault.PathFailed, "read journal", j.path, err)
	}
	found := past{chunks: make(map[int]int64), taken: make(map[int]uint64)}
	if found.identity, found.known = parseIdentity(line); !found.known {
		return past{}, nil // not ours, or its first line was lost in a crash
	}
	sound := int64(len(line))
	var record [recordSize]byte
	for {
		if _, err := io.ReadFull(in, record[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			return past{}, fault.New(fault.PathFailed, "read journal", j.path, err)
		}
		chunk, bytes, ok := parseRecord(record)
		if !ok {
			break
		}
		sound += recordSize
		switch {
		case chunk == recordFinished:
			found.finished = true
		case chunk == recordVoid:
			found.void = true
		case chunk == recordSettled:
			found.settled = true
		case chunk >= recordTaken:
			found.taken[int(chunk-recordTaken)] = uint64(bytes)
		default:
			found.chunks[int(chunk)] = bytes
		}
	}
	if err := j.file.Truncate(sound); err != nil {
		return past{}, fault.New(fault.PathFailed, "cut journal", j.path, err)
	}
	return found, nil
}

// begin empties the journal and gives it to an attempt. The first line reaches
// the disk before anything is created, so that after a crash of the machine the
// staging directory is still known as ours.
func (j *journal) begin(id identity) error {
	line, err := json.Marshal(id)
	if err != nil {
		return fault.New(fault.PathFailed, "write journal", j.path, err)
	}
	if err := j.file.Truncate(0); err != nil {
		return fault.New(fault.PathFailed, "write journal", j.path, err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return writeFault("write journal", j.path, err)
	}
	if err := j.file.Sync(); err != nil {
		return writeFault("sync journal", j.path, err)
	}
	return syncDir(filepath.Dir(j.path))
}

// add appends one record. Writes of this size to a file opened for appending do
// not mix.
func (j *journal) add(chunk uint32, size int64) error {
	var record [recordSize]byte
	binary.BigEndian.PutUint32(record[0:], chunk)
	binary.BigEndian.PutUint64(record[4:], uint64(size))
	binary.BigEndian.PutUint32(record[12:], crc32.Checksum(record[:12], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := j.file.Write(record[:]); err != nil {
		return writeFault("write journal", j.path, err)
	}
	return nil
}

func parseIdentity(line []byte) (id identity, ok bool) {
	err := json.Unmarshal(line, &id)
	return id, err == nil && (id.Journal == journalPlain || id.Journal == journalOlder)
}

func parseRecord(record [recordSize]byte) (chunk uint32, size int64, ok bool) {
	sum := crc32.Checksum(record[:12], crc32.MakeTable(crc32.Castagnoli))
	if binary.BigEndian.Uint32(record[12:]) != sum {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(record[0:]), int64(binary.BigEndian.Uint64(record[4:])), true
}

func (j *journal) close() error { return j.file.Close() }

// identify gives what must be the same for an earlier attempt's records to count.
func identify(c Config, root *os.Root, digest []byte) (identity, error) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return identity{}, fault.New(fault.PathFailed, "read", bootID, err)
	}
	info, err := root.Stat(".")
	if err != nil {
		return identity{}, fault.New(fault.PathFailed, "look at", c.Root, err)
	}
	stat, err := sysStat(info)
	if err != nil {
		return identity{}, fault.New(fault.PathFailed, "look at", c.Root, err)
	}
	version := journalPlain
	if c.Older != "" {
		version = journalOlder
	}
	return identity{
		Journal: version, Older: c.Older, Root: c.Root, Inode: stat.Ino, Device: stat.Dev,
		Boot: strings.TrimSpace(string(bytes.TrimSpace(boot))), Backup: c.Backup, Table: hex.EncodeToString(digest),
	}, nil
}
