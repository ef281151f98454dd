package target

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// What is beside a directory is named by the directory, one of these, and the run.
const (
	lockSuffix    = ".lifeboat-lock"
	stagingPrefix = ".lifeboat-new-"
	asidePrefix   = ".lifeboat-old-"
	journalPrefix = ".lifeboat-swap-"
	scratchPrefix = ".lifeboat-look-"
)

// longestRun keeps names under the 255 bytes that file systems allow.
const longestRun = 96

// Staging is the directory beside dir that a run restores into. Same arguments,
// same name. It is not made.
func Staging(dir, run string) string { return beside(dir, stagingPrefix, run) }

// Aside is where Swap keeps the directory that was in place before the run.
func Aside(dir, run string) string { return beside(dir, asidePrefix, run) }

func journalPath(dir, run string) string { return beside(dir, journalPrefix, run) }

func lockPath(dir string) string { return filepath.Clean(dir) + lockSuffix }

func beside(dir, prefix, run string) string { return filepath.Clean(dir) + prefix + readable(run) }

// readable turns a run's ID into a part of a file name. A run whose ID had to
// be shortened, or holds more than slashes that can't stand in a name, keeps
// apart from others by a hash.
func readable(run string) string {
	exact := true
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		case r == '/':
			return '-'
		default:
			exact = false
			return '_'
		}
	}, run)
	if exact && name != "" && len(name) <= longestRun {
		return name
	}
	sum := sha256.Sum256([]byte(run))
	return name[:min(len(name), longestRun)] + "-" + hex.EncodeToString(sum[:4])
}

// Scratch is the directory beside dir in which a run restores what is only looked
// at. It is never put in place.
func Scratch(dir, run string) string { return beside(dir, scratchPrefix, run) }

// OtherScratches lists the scratch directories of other runs beside dir.
func OtherScratches(dir, run string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return nil, fault.New(fault.PathFailed, "look beside", dir, err)
	}
	own, prefix := filepath.Base(Scratch(dir, run)), filepath.Base(dir)+scratchPrefix
	var others []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, prefix) && name != own {
			others = append(others, filepath.Join(filepath.Dir(filepath.Clean(dir)), name))
		}
	}
	return others, nil
}

// DiscardScratch removes a scratch directory whole. None is no error.
func DiscardScratch(ctx context.Context, root string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !strings.Contains(filepath.Base(root), scratchPrefix) {
		return fault.Newf(fault.TargetRefused, "remove", root, "it is not named as a scratch directory is")
	}
	return removeTree(root)
}
