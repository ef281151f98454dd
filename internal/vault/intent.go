package vault

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
)

// Intent says which backup is to be made. It fixes the backup's name, and it
// belongs to one run: the same RunID may begin again, another may not.
type Intent struct {
	Folder    string    // database-backups, redis-backups, file-backups or config-backups
	Kind      string    // base, sql.gz, rdb, tree, …: the end of the backup's name
	System    string    // the protected system
	Component string    // the component of it
	RunID     string    // the workflow's id
	Attempt   int32     // of the activity; only a name for the attempt's folder
	By        string    // host or person
	At        time.Time // of the backup's name, to the second; the same for all attempts
	Codec     string    // zstd, gzip or none; empty: zstd
	Dense     bool      // smaller rather than faster, where the codec can do both

	// FrameSize is the least that a later backup can share, in bytes of plaintext, at
	// most MaxFrameSize; 0: the vault's. With one, frames can be found by their content.
	FrameSize int
}

// Kinds of dumps of a database.
const (
	KindSQL    = "sql.gz" // SQL as text, in gzip
	KindCustom = "dump"   // pg_dump's custom format
)

// IsDump says whether backups of a kind are dumps.
func IsDump(kind string) bool { return kind == KindSQL || kind == KindCustom }

// words are what the seed calls the kinds of backups in their names.
func words() map[string]string {
	return map[string]string{"database-backups": "db", "redis-backups": "redis", "file-backups": "file", "config-backups": "config"}
}

const nameTime = "20060102_150405"

var (
	componentPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	kindPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9.]{0,15}$`)
	backupPattern    = regexp.MustCompile(`^([a-z-]+)/(\d{4}/\d{2}/\d{2})/([a-z0-9][a-z0-9_-]{0,62})_([a-z]+)_backup_(\d{8}_\d{6})\.([a-z0-9][a-z0-9.]{0,15})$`)
)

// Key is the backup's key: the folder that all its objects lie in, and what
// restore commands take.
func (i Intent) Key() string {
	at := i.At.UTC()
	return fmt.Sprintf("%s/%s/%s_%s_backup_%s.%s", i.Folder, at.Format("2006/01/02"), i.Component, words()[i.Folder], at.Format(nameTime), i.Kind)
}

func (i Intent) check() error {
	var wrong string
	switch {
	case words()[i.Folder] == "":
		wrong = "no such folder"
	case !componentPattern.MatchString(i.Component):
		wrong = "the component's name has other than lower-case letters, digits, dashes and underscores"
	case !kindPattern.MatchString(i.Kind):
		wrong = "no such kind"
	case i.System == "":
		wrong = "no system is named"
	case i.RunID == "":
		wrong = "no run is named"
	case i.At.IsZero():
		wrong = "no time is given"
	case i.FrameSize < 0 || i.FrameSize > MaxFrameSize:
		wrong = "a frame has at most 1 MiB"
	default:
		return nil
	}
	return fault.Newf(fault.InputInvalid, "begin backup", i.Folder+"/"+i.Component, "%s", wrong)
}

// intentRecord is the intent as stored, in clear.
type intentRecord struct {
	Version   int       `json:"version"`
	Key       string    `json:"key"`
	System    string    `json:"system"`
	Component string    `json:"component"`
	Folder    string    `json:"folder"`
	Kind      string    `json:"kind"`
	RunID     string    `json:"run_id"`
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
	Codec     string    `json:"codec"`
	KeyID     string    `json:"key_id"`
}

// leaseRecord says that an attempt was alive, and until when it is taken to be.
type leaseRecord struct {
	RunID   string    `json:"run_id"`
	Attempt string    `json:"attempt"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
}

// parseKey takes a backup's key apart; ok is false when it is none.
func parseKey(key string) (Summary, bool) {
	part := backupPattern.FindStringSubmatch(key)
	if part == nil || words()[part[1]] != part[4] {
		return Summary{}, false
	}
	at, err := time.Parse(nameTime, part[5])
	if err != nil || at.Format("2006/01/02") != part[2] {
		return Summary{}, false
	}
	return Summary{Key: key, Folder: part[1], Component: part[3], Kind: part[6], At: at}, true
}

func cleanKey(key string) string { return strings.TrimSuffix(strings.TrimPrefix(key, "/"), "/") }

// randomHex gives 2n hex digits.
func randomHex(n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", fault.New(fault.KeyUnavailable, "draw random bytes", "this host", err)
	}
	return hex.EncodeToString(b), nil
}
