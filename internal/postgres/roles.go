package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/frende/lifeboat/internal/fault"
)

// CheckRoles says whether a restored copy of the server could be asked anything:
// one of the two roles that a backup records has to be a superuser and be allowed
// to log in. It fails with ServerSettings.
func (s *Server) CheckRoles(ctx context.Context) error {
	able, err := value[bool](ctx, s, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname IN ($1, $2) AND rolcanlogin AND rolsuper)",
		s.facts.Superuser, s.facts.Login)
	if err != nil || able {
		return err
	}
	return fault.Newf(fault.ServerSettings, "check settings of", s.String(), "neither role %s nor role %s is a superuser that may log in: no restored copy could be verified",
		s.facts.Superuser, s.facts.Login).
		WithHint("run: ALTER ROLE %s SUPERUSER LOGIN", pgx.Identifier{s.facts.Login}.Sanitize())
}
