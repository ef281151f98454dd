package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// minimums are settings that a standby must have at least as high as the server
// whose WAL it replays: with a lower one it pauses, or does not even start
// (xlogrecovery.c, CheckRequiredParameterValues). The WAL itself raises them in
// the control file; the settings files of a base backup know nothing of that.
func (c Control) minimums() [][2]string {
	return [][2]string{
		{"max_connections", strconv.Itoa(c.MaxConnections)},
		{"max_worker_processes", strconv.Itoa(c.MaxWorkers)},
		{"max_wal_senders", strconv.Itoa(c.MaxSenders)},
		{"max_prepared_transactions", strconv.Itoa(c.MaxPrepared)},
		{"max_locks_per_transaction", strconv.Itoa(c.MaxLocksPerXact)},
	}
}

// missingFrom gives the minimums that the body of a postgresql.auto.conf, which
// outranks every other file, does not ensure.
func (c Control) missingFrom(body string) [][2]string {
	var missing [][2]string
	for _, minimum := range c.minimums() {
		ensured := false
		for _, found := range autoConfLine(minimum[0]).FindAllStringSubmatch(body, -1) {
			ensured = atLeast(found[1], minimum[1]) // the last one counts
		}
		if !ensured {
			missing = append(missing, minimum)
		}
	}
	return missing
}

// autoConfLine finds a number in a file that only ALTER SYSTEM writes.
func autoConfLine(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^` + name + ` = '([0-9]+)'$`)
}

func atLeast(value, minimum string) bool {
	have, haveErr := strconv.Atoi(value)
	need, needErr := strconv.Atoi(minimum)
	return haveErr == nil && needErr == nil && have >= need
}

// raised lists the minimums that Handover has added to a server's settings and
// nobody has rewritten since.
func raised(dataDir string) ([]string, error) {
	path := filepath.Join(dataDir, autoConf)
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pathFault("read", path, err)
	}
	var names []string
	for _, minimum := range (Control{}).minimums() {
		if autoConfLine(minimum[0]).MatchString(block(string(body))) {
			names = append(names, minimum[0])
		}
	}
	return names, nil
}

// lowerRaised takes the added minimums out again where the other settings files,
// or the default, are as high. The others stay, as the source had them: the next
// start may need them, for prepared transactions.
func (s *Server) lowerRaised(ctx context.Context, names []string) error {
	for _, name := range names {
		ensured, err := value[bool](ctx, s, `
SELECT coalesce((SELECT setting FROM pg_file_settings
                 WHERE name = $1 AND sourcefile <> current_setting('data_directory') || '/`+autoConf+`' ORDER BY seqno DESC LIMIT 1),
                boot_val)::int >= setting::int
FROM pg_settings WHERE name = $1`, name)
		if err != nil {
			return err
		}
		if !ensured {
			continue
		}
		if err := s.execute(ctx, fmt.Sprintf("ALTER SYSTEM RESET %s", pgx.Identifier{name}.Sanitize())); err != nil {
			return err
		}
	}
	return nil
}
