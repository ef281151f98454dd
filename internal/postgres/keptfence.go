package postgres

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// LowerKeptFence puts the original client authentication back in a data directory
// that was moved aside while it was fenced, and that no server runs in: its fence's
// journal ended with the recovery. Only plain files of that account are put back.
// It may be called again.
func LowerKeptFence(dataDir string, owner Account) (lowered bool, err error) {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return false, pathFault("lower fence", dataDir, err)
	}
	for _, entry := range entries {
		name, fenced := strings.CutSuffix(entry.Name(), asideSuffix)
		if !fenced || name == "" {
			continue
		}
		path := filepath.Join(dataDir, name)
		one, err := fence{HBA: path, Aside: path + asideSuffix, DataDir: dataDir, Account: owner.UID}.lower()
		if err != nil {
			return lowered, err
		}
		lowered = lowered || one
	}
	return lowered, nil
}

// CheckUnfenced fails with TargetRefused when client authentication in a data
// directory is a fence whose original is not beside it any more.
func CheckUnfenced(dataDir string) error {
	const op = "look at client authentication of"
	path := filepath.Join(dataDir, "pg_hba.conf")
	body, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil // it lies elsewhere
	}
	if err != nil {
		return pathFault(op, path, err)
	}
	if !(hbaFile{body: body}).fenced() {
		return nil
	}
	if _, err := os.Lstat(path + asideSuffix); err == nil {
		return nil
	}
	return fault.Newf(fault.TargetRefused, op, path, "it is fenced, and its original is gone").WithHint("write it anew, then begin again")
}
