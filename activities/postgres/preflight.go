package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/internal/window"
)

// RestorePreflight finds the backup and checks all that can be known before
// anything is written: its manifest and key, the programs of its version, whose
// cluster is at the target, whether the store can be written, the WAL that makes
// it consistent, and the space and place for it. It touches nothing.
func (a *Activities) RestorePreflight(ctx context.Context, in RestorePreflightInput) (RestorePreflightResult, error) {
	j, err := a.resolve(in.Ref)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	return j.preflight(ctx, in.To, in.Key)
}

func (j *job) preflight(ctx context.Context, to plan.Point, key string) (RestorePreflightResult, error) {
	if err := j.checkService(); err != nil {
		return RestorePreflightResult{}, err
	}
	opened, err := j.vault(ctx)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: j.database.Cluster, Home: j.ref.System.From})
	if err != nil {
		return RestorePreflightResult{}, err
	}
	choice, err := window.Choose(ctx, window.Config{Vault: opened, Archive: archive, Component: j.database.Name, Until: j.ref.Until, Now: time.Now}, to, key)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	manifest, chosen := choice.Opened.Manifest(), choice.Opened
	if !choice.Goal.Open() {
		j.ref.Goal = &Goal{Timeline: choice.Timeline, Goal: choice.Goal}
	}
	result := RestorePreflightResult{Goal: j.ref.Goal, Key: manifest.Key, PassedOver: chosen.PassedOver, Incomplete: incomplete(chosen.Incomplete)}
	if err := manifest.Fact(FactsName, &result.Facts); err != nil {
		return RestorePreflightResult{}, err
	}
	if result.Place, err = j.place(ctx, result.Facts); err != nil {
		return RestorePreflightResult{}, err
	}
	if result.Live, err = j.look(ctx, result.Place, result.Facts.SystemID); err != nil {
		return RestorePreflightResult{}, err
	}
	if err := result.Place.checkNewTablespaces(); err != nil {
		return RestorePreflightResult{}, err
	}
	// The cut-over claims the archive for the new directory. It must not learn
	// only then, with the old server down, that the store can't be written.
	if !j.sandboxed() {
		if err := opened.Writable(ctx); err != nil {
			return RestorePreflightResult{}, err
		}
	}
	pinned, err := pin(ctx, archive, result.Facts, j.ref)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	if result.Span, err = span(pinned); err != nil {
		return RestorePreflightResult{}, err
	}
	if result.Bytes, err = backupBytes(manifest, result.Place); err != nil {
		return RestorePreflightResult{}, err
	}
	places, err := j.needs(manifest, result)
	if err != nil {
		return RestorePreflightResult{}, err
	}
	for _, place := range places {
		result.Need += int64(place.Need)
	}
	if err := target.Refuse(places...); err != nil {
		return RestorePreflightResult{}, err
	}
	free, err := target.Space(result.Place.Live)
	result.Free = int64(free)
	return result, err
}

// incomplete tells of backups of which something is in no store.
func incomplete(found []vault.Incomplete) (told []report.PassedOver) {
	for _, one := range found {
		told = append(told, report.PassedOver(one))
	}
	return told
}

// place decides where on this host the recovery happens.
func (j *job) place(ctx context.Context, facts Facts) (Place, error) {
	bin, err := postgres.FindBin(ctx, j.database.BinDir, postgres.Major(facts.Version))
	if err != nil {
		return Place{}, err
	}
	owner, err := j.owner()
	if err != nil {
		return Place{}, err
	}
	dir := filepath.Clean(j.database.DataDir)
	staging := target.Staging(dir, j.ref.RunID)
	place := Place{Live: dir, Staging: staging, Run: staging + ".run", Socket: socketDir(staging), BinDir: bin, OSUser: owner.Name, Superuser: facts.Superuser, Login: facts.Login}
	if j.sandboxed() {
		place.Production = j.production().DataDir
	}
	if j.ref.Scratch {
		return j.scratchPlace(place, facts), nil
	}
	for _, space := range facts.Tablespaces {
		location := j.located(space.Location)
		place.Tablespaces = append(place.Tablespaces, TablespacePlace{
			OID: space.OID, Live: location, Staging: target.Staging(location, j.ref.RunID),
		})
	}
	return place, nil
}

// look finds what is at the target now, and refuses what belongs to another
// cluster: by the directory, and by the server that answers at the address.
func (j *job) look(ctx context.Context, place Place, systemID string) (Live, error) {
	if j.ref.Scratch {
		return LiveMissing, nil
	}
	if j.sandboxed() {
		return LiveMissing, j.vacant(ctx, place)
	}
	found, err := postgres.CheckDirectory(ctx, place.BinDir, place.Live, systemID)
	if err != nil {
		if fault.Has(err, fault.VersionMismatch) || fault.Has(err, fault.CommandFailed) {
			return "", foreignVersion(place, err)
		}
		return "", err
	}
	server, err := j.reach(ctx, place, systemID)
	switch {
	case err == nil:
		server.Close(ctx)
		return LiveRunning, nil
	case !fault.Has(err, fault.ServerUnavailable):
		return "", err // whoever answers there does not let us in: no fence could be raised
	case postgres.Running(place.Live):
		return LiveRunning, nil // hung: it will be stopped
	case found:
		return LiveStopped, nil
	default:
		return LiveMissing, nil
	}
}

// foreignVersion names a directory of another major version, which pg_controldata can't read.
func foreignVersion(place Place, cause error) error {
	major, err := postgres.DirMajor(place.Live)
	if err != nil {
		return cause
	}
	return fault.Newf(fault.VersionMismatch, "look at", place.Live, "it holds a cluster of PostgreSQL %d", major).
		WithHint("check data_dir: the backup is of another major version than what lies there")
}

// pin finds the contiguous WAL from the backup on, and refuses when it does not
// even reach the backup's end. With Until it ends with that segment, and with a
// goal it goes along the timeline that leads there.
func pin(ctx context.Context, archive *wal.Archive, facts Facts, ref Ref) (wal.Pin, error) {
	from := wal.Point{SystemID: facts.SystemID, Timeline: facts.Timeline, LSN: facts.StartLSN, SegmentSize: facts.SegmentSize}
	if ref.Goal != nil {
		from.Along = ref.Goal.Timeline
	}
	pinned, err := archive.Pin(ctx, from)
	if err == nil && ref.Until != "" {
		pinned, err = pinned.Upto(ref.Until)
	}
	if err != nil {
		return wal.Pin{}, err
	}
	return pinned, pinned.Reaches(facts.StopLSN)
}

// span is the pin as a result tells it.
func span(pinned wal.Pin) (Span, error) {
	end, err := pinned.EndLSN()
	found := Span{Timeline: pinned.Timeline, First: pinned.Start, Last: pinned.End, End: end}
	if pinned.Hole != nil {
		found.Hole = fmt.Sprintf("%s is in no store, and %d later segments can't be used", pinned.Hole.Missing, pinned.Hole.Later)
	}
	return found, err
}

// streamOf is the name of a tablespace's tar stream.
func streamOf(space TablespacePlace) string {
	return strconv.FormatUint(uint64(space.OID), 10) + ".tar"
}
