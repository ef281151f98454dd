package postgres

import (
	"context"
	"os"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
)

// DiscardRun is Discard for a run that has ended without it, from what lies on
// this host. A run that had fenced the server is refused with TargetRefused, for a person has
// to say whether that server may serve again.
func (a *Activities) DiscardRun(ctx context.Context, in DiscardRunInput) (DiscardResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return DiscardResult{}, err
	}
	dir := filepath.Clean(j.database.DataDir)
	staging := target.Staging(dir, in.RunID)
	place := Place{Live: dir, Staging: staging, Run: staging + ".run", Socket: socketDir(staging)}
	if postgres.Fenced(place.fence()) {
		return DiscardResult{}, fault.Newf(fault.TargetRefused, "discard staging of", dir, "run %s has fenced the server and did not take that back", in.RunID).
			WithHint("recover the database anew, or let the server serve again by restoring its pg_hba.conf, and remove %s", place.Run)
	}
	links, err := postgres.TablespaceLinks(dir)
	if err != nil {
		return DiscardResult{}, err
	}
	for _, link := range links {
		one := TablespacePlace{OID: link.OID, Live: filepath.Clean(link.Location), Staging: target.Staging(link.Location, in.RunID)}
		if _, err := os.Lstat(one.Staging); err == nil {
			place.Tablespaces = append(place.Tablespaces, one)
		}
	}
	if err := postgres.EndRestore(ctx, DumpPlace{Dir: staging}.restorer()); err != nil {
		return DiscardResult{}, err
	}
	// A run that restored a dump has left a database. Without a server, there is none to see.
	err = postgres.DropDatabase(ctx, j.login, besideName(j.database.Database, "restoring", in.RunID))
	if err != nil && !fault.Has(err, fault.ServerUnavailable) {
		return DiscardResult{}, err
	}
	return a.Discard(ctx, DiscardInput{Ref: in.Ref, Place: place})
}
