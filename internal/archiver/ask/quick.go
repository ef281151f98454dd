package ask

import (
	"os"
	"path/filepath"
)

// Quick is the name of the program that does for lifeboat what PostgreSQL asks for
// most, and starts faster. It takes the same arguments.
const Quick = "lifeboat-wal"

// QuickOf gives the path of Quick when it is installed beside lifeboat, else lifeboat's.
func QuickOf(lifeboat string) string {
	path := filepath.Join(filepath.Dir(lifeboat), Quick)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return lifeboat
	}
	return path
}
