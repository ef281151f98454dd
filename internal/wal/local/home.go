package local

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
)

// MarkerName is the file in a data directory that says which incarnation of the
// cluster it is. It is bound to the directory, not to its content: a copy has
// the same file and another identity.
const MarkerName = "lifeboat.incarnation"

// HomeOf gives the name of the store that a data directory archives to, "" for
// the configured primary. A directory that was recovered from a replica alone
// goes on archiving there, whatever the configuration names first.
func HomeOf(dataDir string) (string, error) {
	path := filepath.Join(dataDir, MarkerName)
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var marker struct {
		Home string `json:"home"`
	}
	if err == nil {
		err = json.Unmarshal(body, &marker)
	}
	if err != nil {
		return "", fault.New(fault.PathFailed, "read", path, err)
	}
	return marker.Home, nil
}
