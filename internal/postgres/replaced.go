package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// replacedSetting is the setting that marks a database as replaced by a recovery. A
// database that a person renames back keeps it, and its name says that it is none.
const replacedSetting = "lifeboat.replaced"

// Replaced is a database that a recovery from a dump put aside, as the swap recorded
// it at the database itself.
type Replaced struct {
	Database string    `json:"database"` // whose place it had
	Run      string    `json:"run"`
	At       time.Time `json:"at"`

	Name string `json:"-"` // that it has now
	Open bool   `json:"-"` // somebody lets sessions connect to it again
}

// mark is the statement that records it; it goes with the renames or not at all.
func (r Replaced) mark(name string) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fault.New(fault.InputInvalid, "describe", "database "+name, err)
	}
	return "ALTER DATABASE " + pgx.Identifier{name}.Sanitize() + " SET " + replacedSetting + " TO " + quoteLiteral(string(text)), nil
}

// ReplacedDatabases lists what recoveries put aside and marked. What can't be read as
// a mark is none.
func (s *Server) ReplacedDatabases(ctx context.Context) ([]Replaced, error) {
	type marked struct {
		Name  string
		Open  bool
		Value string
	}
	found, err := collect(ctx, s, `SELECT d.datname::text AS name, d.datallowconn AS open, substr(c, length($1) + 2) AS value
		FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0, unnest(s.setconfig) c
		WHERE starts_with(c, $1 || '=') ORDER BY d.datname`, pgx.RowToStructByName[marked], replacedSetting)
	if err != nil {
		return nil, err
	}
	var all []Replaced
	for _, one := range found {
		r := Replaced{Name: one.Name, Open: one.Open}
		decoder := json.NewDecoder(strings.NewReader(one.Value))
		if decoder.Decode(&r) == nil && r.Database != "" && r.Run != "" && !r.At.IsZero() {
			all = append(all, r)
		}
	}
	return all, nil
}

// DropClosed drops a database that lets nobody in. It does not end sessions: whoever is
// in it, as a superuser who opened it again, keeps it (ServerFailed).
func (s *Server) DropClosed(ctx context.Context, name string) error {
	return s.execute(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
}
