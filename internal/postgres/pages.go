package postgres

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
)

// Pages says of how many pages the checksums were computed.
type Pages struct {
	Checksums bool  // false: this cluster's pages carry none, and nothing was checked
	Files     int64 // of relations
	Blocks    int64
}

// PageFault is a page whose checksum is wrong.
type PageFault struct {
	File   string // below the data directory: "base/5/16384.1"
	Block  int64  // in that file, from 0
	Others int    // pages that are wrong besides this one
}

func (p *PageFault) Error() string {
	told := fmt.Sprintf("block %d of %s has a wrong checksum", p.Block, p.File)
	if p.Others > 0 {
		told += fmt.Sprintf(", and %d more are wrong", p.Others)
	}
	return told
}

// What pg_checksums says in the C locale.
var (
	badPage       = regexp.MustCompile(`checksum verification failed in file "(.+)", block (\d+): `)
	filesScanned  = regexp.MustCompile(`(?m)^Files scanned:\s+(\d+)$`)
	blocksScanned = regexp.MustCompile(`(?m)^Blocks scanned:\s+(\d+)$`)
	badChecksums  = regexp.MustCompile(`(?m)^Bad checksums:\s+(\d+)$`)
)

// CheckPages computes the checksum of every page of a cluster whose server was
// shut down (pg_checksums --check). It fails with VerificationFailed, whose cause
// is the first PageFault, when one is not what stands in the page.
func CheckPages(ctx context.Context, binDir, dataDir string, owner Account, log string) (Pages, error) {
	const op = "check pages of"
	control, err := ReadControl(ctx, binDir, dataDir)
	if err != nil || !control.Checksums {
		return Pages{}, err
	}
	result, err := command.Run(ctx, command.Config{
		Argv: []string{filepath.Join(binDir, "pg_checksums"), "--check", "-D", dataDir},
		Env:  cLocale(), Dir: dataDir, User: owner.Name, Log: log,
	})
	pages := Pages{Checksums: true, Files: pageCount(result.Stdout, filesScanned), Blocks: pageCount(result.Stdout, blocksScanned)}
	if err == nil || ctx.Err() != nil || !fault.Has(err, fault.CommandFailed) {
		return pages, err
	}
	first := badPage.FindSubmatch(result.Stderr)
	if first == nil {
		return pages, err
	}
	block, parseErr := strconv.ParseInt(string(first[2]), 10, 64)
	if parseErr != nil {
		return pages, err
	}
	file := strings.TrimPrefix(strings.TrimPrefix(string(first[1]), dataDir), "/")
	bad := max(pageCount(result.Stdout, badChecksums), int64(bytes.Count(result.Stderr, []byte("checksum verification failed"))))
	return pages, fault.New(fault.VerificationFailed, op, dataDir, &PageFault{File: file, Block: block, Others: int(bad) - 1}).
		WithHint("do not use this backup; look for the cause at the source, whose page may be damaged, too: pg_amcheck, or a new base backup, tells")
}

func pageCount(output []byte, of *regexp.Regexp) int64 {
	found := of.FindSubmatch(output)
	if found == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		return 0 // it is told, and nothing depends on it
	}
	return n
}

// relationFile is where a relation of one database lies: base/DATABASE/FILENODE,
// with the number of its segment or of a fork behind.
var relationFile = regexp.MustCompile(`^(?:base|pg_tblspc/\d+/[^/]+)/(\d+)/(\d+)`)

// RelationAt names the relation that a file belongs to, as "frende: public.users";
// "" when the server does not know.
func (s *Server) RelationAt(ctx context.Context, file string) (string, error) {
	parts := relationFile.FindStringSubmatch(file)
	if parts == nil {
		return "", nil
	}
	database, err := value[string](ctx, s, "SELECT coalesce((SELECT datname FROM pg_database WHERE oid = $1::oid AND datallowconn), '')", parts[1])
	if err != nil || database == "" {
		return "", err
	}
	conn, err := s.login.WithDatabase(database).connect(ctx)
	if err != nil {
		return "", err
	}
	defer closeConn(ctx, conn)
	var name string
	err = conn.QueryRow(ctx, `SELECT coalesce((SELECT format('%s.%s', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE pg_relation_filenode(c.oid) = $1::oid LIMIT 1), '')`, parts[2]).Scan(&name)
	if err != nil || name == "" {
		return "", queryFault(ctx, "name relation of", file, err)
	}
	return database + ": " + name, nil
}
