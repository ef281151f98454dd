package postgres

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
)

// clientVariables are what libpq takes instead of a connection string's parameters.
func clientVariables() map[string]string {
	return map[string]string{
		"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
		"channel_binding": "PGCHANNELBINDING", "krbsrvname": "PGKRBSRVNAME",
	}
}

// client is the environment in which PostgreSQL's own programs log in as this
// login does. It holds the password: an argument would be seen by everybody.
func (l Login) client() []string {
	env := append(cLocale(), command.Inherit("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGCHANNELBINDING", "PGKRBSRVNAME", "KRB5CCNAME")...)
	env = append(env,
		"PGHOST="+l.config.Host, "PGPORT="+strconv.Itoa(int(l.config.Port)), "PGUSER="+l.config.User, "PGDATABASE="+l.config.Database,
		"PGAPPNAME=lifeboat", "PGCONNECT_TIMEOUT="+strconv.Itoa(int(l.config.ConnectTimeout.Seconds())),
		"PGOPTIONS="+clientOptions)
	if l.config.Password != "" {
		env = append(env, "PGPASSWORD="+l.config.Password)
	}
	given := parameters(l.config.ConnString())
	for name, variable := range clientVariables() {
		if value, ok := given[name]; ok {
			env = append(env, variable+"="+value)
		}
	}
	return env
}

// clientOptions undo what roles and databases say of sessions for the application.
// What is restored is synced by the commit that puts it in place.
const clientOptions = `-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off ` +
	`-c default_transaction_isolation=read\ committed -c synchronous_commit=off -c maintenance_work_mem=128MB`

// parameters reads the parameters of a connection string that pgx has accepted:
// a URL's query, or key=value with libpq's quoting.
func parameters(text string) map[string]string {
	found := map[string]string{}
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		if at, err := url.Parse(text); err == nil {
			for name := range at.Query() {
				found[name] = at.Query().Get(name)
			}
		}
		return found
	}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		var value string
		value, text = parameter(strings.TrimLeft(rest, " \t\n"))
		found[strings.TrimSpace(name)] = value
	}
	return found
}

// parameter takes one value, quoted or not, from the beginning of text.
func parameter(text string) (value, rest string) {
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return b.String(), text[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// conninfo names a database for an argument, whatever characters it has.
func conninfo(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}
