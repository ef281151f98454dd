package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/vault"
)

// settingsStream holds the primary's settings, beside a base backup of its standby,
// which has the standby's: JSON, [{"path":…,"content":…},…].
const settingsStream = "settings"

// markName is the restore point that a standby has to replay before it is copied.
const markName = "lifeboat base backup"

// source is the server that a base backup is copied from.
type source struct {
	login   postgres.Login
	standby bool
	why     string // it is the primary though a standby is configured

	// Of a standby.
	started  time.Time
	mark     postgres.LSN // that it has replayed: all that was committed before it was asked lies before
	settings []postgres.SettingsFile
}

// address names the standby; "" is the primary.
func (s source) address() string {
	if !s.standby {
		return ""
	}
	return s.login.String()
}

// source chooses the server to copy from. A standby that can't be used costs no
// backup: the primary is taken, and why is kept with the backup. One that is of another
// cluster, or follows another primary, is a mistake that a person has to look at: ForeignCluster.
func (j *job) source(ctx context.Context, primary *postgres.Server) (source, error) {
	from := source{login: j.login}
	if j.database.Standby == nil {
		return from, nil
	}
	started := time.Now().UTC()
	mark, err := primary.CreateRestorePoint(ctx, markName)
	if err != nil {
		return source{}, err
	}
	settings, err := primary.SettingsFiles(ctx)
	if err != nil {
		return source{}, err
	}
	login, err := j.follower(ctx, primary, mark.LSN)
	switch {
	case ctx.Err() != nil:
		return source{}, context.Cause(ctx)
	case fault.Has(err, fault.ForeignCluster):
		return source{}, err
	case err != nil:
		activity.GetLogger(ctx).Warn("the base backup is taken from the primary", "component", j.database.Name, "why", err.Error())
		from.why = err.Error()
		return from, nil
	}
	return source{login: login, standby: true, started: started, mark: mark.LSN, settings: settings}, nil
}

// follower gives the login of the standby, when a base backup can be copied from it.
func (j *job) follower(ctx context.Context, primary *postgres.Server, mark postgres.LSN) (postgres.Login, error) {
	dsn, err := j.deps.Secret(j.database.Standby.Connection)
	if err != nil {
		return postgres.Login{}, err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{})
	if err != nil {
		return postgres.Login{}, err
	}
	server, err := postgres.Connect(ctx, login)
	if err != nil {
		return postgres.Login{}, err
	}
	defer server.Close(ctx)
	if err := server.CheckFollows(ctx, primary); err != nil {
		return postgres.Login{}, err
	}
	if err := postgres.CheckReplication(ctx, login); err != nil {
		return postgres.Login{}, err
	}
	return login, server.AwaitFollowed(ctx, primary, mark, j.database.Standby.Lag.Std())
}

// complete makes what was copied from a standby as good as a backup of the primary:
// its settings are beside it, its tablespaces lie where the primary has them, and the WAL that
// it needs is on its way to the archive, which only the primary can see to.
func (j *job) complete(ctx context.Context, writer *vault.Writer, from source, taken *postgres.BackupResult) error {
	primary, err := postgres.Connect(ctx, j.login) // anew: the copy may have taken hours
	if err != nil {
		return err
	}
	defer primary.Close(ctx)
	facts := primary.Facts()
	if err := facts.CheckSystem(taken.SystemID, primary.String()); err != nil {
		return err
	}
	if facts.InRecovery || facts.Timeline != taken.Timeline {
		return fault.Newf(fault.StandbyUnfit, "complete the backup of", from.login.String(), "%s left timeline %d while it was copied", primary, taken.Timeline)
	}
	written, err := primary.Flushed(ctx)
	if err != nil {
		return err
	}
	if written < taken.StopLSN {
		return fault.Newf(fault.ForeignCluster, "complete the backup of", from.login.String(), "it ends at %s, and %s has written %s: the standby follows another server of the same identifier", taken.StopLSN, primary, written)
	}
	if _, _, err := primary.SwitchWAL(ctx); err != nil {
		return err
	}
	taken.Started, taken.StopLSN = from.started, max(taken.StopLSN, from.mark)
	for i := range taken.Tablespaces {
		space := &taken.Tablespaces[i]
		at := slices.IndexFunc(facts.Tablespaces, func(t postgres.Tablespace) bool { return t.OID == space.OID })
		if at >= 0 {
			space.Location = facts.Tablespaces[at].Location
		}
	}
	stream, err := writer.Create(ctx, settingsStream)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stream).Encode(from.settings); err != nil {
		return err
	}
	return stream.Close()
}
