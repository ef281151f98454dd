package postgres

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
)

// CheckNewTablespaces refuses, with TargetRefused, to replay WAL in staged while
// the living dataDir has a tablespace that the backup does not know. Its creation
// stands in the WAL with the place where it lies (tablespace.c, tblspc_redo): the
// staged server would write into the living one's files. A tablespace whose place
// was emptied can be replayed into, and so can one that staged has made itself.
func CheckNewTablespaces(dataDir, staged string, known []uint32) error {
	const op = "replay beside"
	folder := filepath.Join(dataDir, "pg_tblspc")
	links, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathFault(op, folder, err)
	}
	for _, link := range links {
		oid, err := strconv.ParseUint(link.Name(), 10, 32)
		if err != nil || slices.Contains(known, uint32(oid)) {
			continue
		}
		location, err := os.Readlink(filepath.Join(folder, link.Name()))
		if err != nil {
			return pathFault(op, filepath.Join(folder, link.Name()), err)
		}
		if own, err := os.Readlink(filepath.Join(staged, "pg_tblspc", link.Name())); err == nil && own == location {
			continue
		}
		if held, err := os.ReadDir(location); err != nil || len(held) > 0 {
			return fault.Newf(fault.TargetRefused, op, dataDir, "tablespace %d at %s was made after the backup: the replay would write into it", oid, location).
				WithHint("take a new base backup; if the server is lost, move what lies in %s away and leave an empty directory of the server's account there", location)
		}
	}
	return nil
}

// TablespaceLink is a tablespace as a data directory knows it.
type TablespaceLink struct {
	OID      uint32
	Location string
}

// TablespaceLinks lists the tablespaces of a data directory, by its links. A
// directory that does not exist has none.
func TablespaceLinks(dataDir string) ([]TablespaceLink, error) {
	folder := filepath.Join(dataDir, "pg_tblspc")
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathFault("list tablespaces of", dataDir, err)
	}
	var links []TablespaceLink
	for _, entry := range entries {
		oid, err := strconv.ParseUint(entry.Name(), 10, 32)
		if err != nil || entry.Type()&fs.ModeSymlink == 0 {
			continue
		}
		location, err := os.Readlink(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, pathFault("read tablespace link", filepath.Join(folder, entry.Name()), err)
		}
		links = append(links, TablespaceLink{OID: uint32(oid), Location: location})
	}
	return links, nil
}
