package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// Properties are what a database is besides what is in it. A setting may be a
// secret, so they go into a sealed stream and into no result.
type Properties struct {
	Name        string            `json:"name"`
	Owner       string            `json:"owner"`
	Locale      Locale            `json:"locale"`
	Tablespace  string            `json:"tablespace"`
	Connections int               `json:"connections"` // allowed at once; -1: as many as the server allows
	Comment     string            `json:"comment,omitempty"`
	Settings    []DatabaseSetting `json:"settings,omitempty"`
	Granted     bool              `json:"granted,omitempty"` // Grants stand for the default
	Grants      []Grant           `json:"grants,omitempty"`
}

// Locale is how a database encodes and sorts text.
type Locale struct {
	Encoding string `json:"encoding"` // "UTF8"
	Provider string `json:"provider"` // "c" libc, "i" ICU, "b" builtin
	Collate  string `json:"collate"`
	CType    string `json:"ctype"`
	Name     string `json:"name,omitempty"` // of the ICU or builtin locale
}

// String is the locale for a person.
func (l Locale) String() string {
	told := fmt.Sprintf("encoding %s, collate %s, ctype %s", l.Encoding, l.Collate, l.CType)
	if l.Name != "" {
		told += ", locale " + l.Name + " of provider " + l.Provider
	}
	return told
}

// DatabaseSetting is what ALTER DATABASE SET, or ALTER ROLE IN DATABASE SET, left.
type DatabaseSetting struct {
	Role  string `json:"role,omitempty"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Grant is a privilege on the database.
type Grant struct {
	Role      string `json:"role,omitempty"` // "": PUBLIC
	Privilege string `json:"privilege"`
	Grantable bool   `json:"grantable,omitempty"`
}

// The name of the ICU locale has another column from PostgreSQL 17 on.
const localeColumns = `pg_encoding_to_char(d.encoding), d.datlocprovider::text, d.datcollate, d.datctype, coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', '')`

const propertiesSQL = `
SELECT d.datname, pg_get_userbyid(d.datdba), ` + localeColumns + `, t.spcname, d.datconnlimit, coalesce(shobj_description(d.oid, 'pg_database'), ''), d.datacl IS NOT NULL
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()`

const settingsSQL = `
SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2`

const grantsSQL = `
SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.datname = current_database() ORDER BY 1, 2`

// properties asks for those of the database that is connected to.
func properties(ctx context.Context, conn *pgx.Conn) (Properties, error) {
	var p Properties
	l := &p.Locale
	err := conn.QueryRow(ctx, propertiesSQL).Scan(&p.Name, &p.Owner, &l.Encoding, &l.Provider, &l.Collate, &l.CType, &l.Name, &p.Tablespace, &p.Connections, &p.Comment, &p.Granted)
	if err != nil {
		return p, err
	}
	p.Settings, err = rowsOf(ctx, conn, settingsSQL, func(row pgx.CollectableRow) (s DatabaseSetting, err error) {
		return s, row.Scan(&s.Role, &s.Name, &s.Value)
	})
	if err != nil {
		return p, err
	}
	p.Grants, err = rowsOf(ctx, conn, grantsSQL, func(row pgx.CollectableRow) (g Grant, err error) {
		return g, row.Scan(&g.Role, &g.Privilege, &g.Grantable)
	})
	return p, err
}

// create is the statement that makes an empty database with the properties, which
// nobody but a superuser may connect to yet.
func (p Properties) create(name string) string {
	quoted := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	statement := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 OWNER %s ENCODING %s LC_COLLATE %s LC_CTYPE %s TABLESPACE %s CONNECTION LIMIT 0",
		quoted(name), quoted(p.Owner), quoteLiteral(p.Locale.Encoding), quoteLiteral(p.Locale.Collate), quoteLiteral(p.Locale.CType), quoted(p.Tablespace))
	switch p.Locale.Provider {
	case "i":
		statement += " LOCALE_PROVIDER icu ICU_LOCALE " + quoteLiteral(p.Locale.Name)
	case "b":
		statement += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + quoteLiteral(p.Locale.Name)
	default:
		statement += " LOCALE_PROVIDER libc"
	}
	return statement
}

// apply gives a database the settings, grants and comment. Values are set in this
// session first: FROM CURRENT needs no quoting of lists.
func (p Properties) apply(ctx context.Context, conn *pgx.Conn, name string) error {
	subject := "database " + name
	database := pgx.Identifier{name}.Sanitize()
	role := func(name string) string {
		if name == "" {
			return "PUBLIC"
		}
		return pgx.Identifier{name}.Sanitize()
	}
	execute := func(statement string, args ...any) error {
		if _, err := conn.Exec(ctx, statement, args...); err != nil {
			return queryFault(ctx, "give properties to", subject, err)
		}
		return nil
	}
	for _, s := range p.Settings {
		of := "DATABASE " + database
		if s.Role != "" {
			of = "ROLE " + role(s.Role) + " IN DATABASE " + database
		}
		if s.Name == "role" { // in force, it could not give itself to others
			if err := execute("ALTER " + of + " SET role TO " + quoteLiteral(s.Value)); err != nil {
				return err
			}
			continue
		}
		if err := execute("BEGIN"); err != nil { // what concerns transactions concerns the next one
			return err
		}
		if err := execute("SELECT set_config($1, $2, true)", s.Name, s.Value); err != nil {
			return err
		}
		if err := execute("ALTER " + of + " SET " + settingName(s.Name) + " FROM CURRENT"); err != nil {
			return err
		}
		if err := execute("COMMIT"); err != nil {
			return err
		}
	}
	if p.Granted {
		if err := execute("REVOKE ALL ON DATABASE " + database + " FROM PUBLIC, " + role(p.Owner)); err != nil {
			return err
		}
		for _, g := range p.Grants {
			statement := "GRANT " + g.Privilege + " ON DATABASE " + database + " TO " + role(g.Role)
			if g.Grantable {
				statement += " WITH GRANT OPTION"
			}
			if err := execute(statement); err != nil {
				return err
			}
		}
	}
	if p.Comment != "" {
		return execute("COMMENT ON DATABASE " + database + " IS " + quoteLiteral(p.Comment))
	}
	return nil
}

// settingName quotes each part of a name: "app.tenant".
func settingName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// localeFault names why CREATE DATABASE did not take a locale.
func localeFault(ctx context.Context, name string, l Locale, err error) error {
	if said := pgError(err); said != nil && (said.Code == "42809" || said.Code == "22023" || said.Code == "0A000" || said.Code == "42704") {
		return fault.Newf(fault.LocaleMismatch, "make", "database "+name, "%s: %s", l, said.Message).
			WithHint("generate the locale on the server's host (locale-gen), restart the server, and begin again")
	}
	return queryFault(ctx, "make", "database "+name, err)
}
