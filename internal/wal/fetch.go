package wal

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/wal/local"
)

// Exit codes of restore_command. PostgreSQL takes 1 to 125 for "there is no such
// file" and goes on, in the end by promoting; above 125 it stops (xlogarchive.c,
// RestoreArchivedFile).
const (
	exitEnd  = 1
	exitStop = 126
)

// ExitCode is the exit code of wal-fetch: 0 found, 1 past the pinned end, 126
// anything else.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case fault.Has(err, fault.WALEnd):
		return exitEnd
	}
	return exitStop
}

// Fetch puts the file that a recovery under the pin asks for at dst, whole or
// not at all. WALEnd when it lies past the pin; errors that may pass are tried
// again for Config.Patience.
func (a *Archive) Fetch(ctx context.Context, pin Pin, name, dst string) error {
	if err := a.serves(pin, name); err != nil {
		return err
	}
	switch {
	case postgres.IsHistory(name):
		return a.fetchHistory(ctx, pin, name, dst)
	case postgres.IsSegment(name):
		return a.fetchSegment(ctx, pin, name, dst)
	}
	return fault.Newf(fault.InputInvalid, "fetch WAL", strconv.Quote(name), "recovery asks for segments and timeline histories only")
}

// serves says whether the pin can be one of this archive.
func (a *Archive) serves(pin Pin, name string) error {
	if pin.Cluster != a.cfg.Cluster {
		return fault.Newf(fault.ForeignCluster, "fetch WAL", name, "the pin is for cluster %s, the archive is that of %s", pin.Cluster, a.cfg.Cluster)
	}
	return local.CheckSystemID("fetch WAL", pin.SystemID)
}

func (a *Archive) fetchSegment(ctx context.Context, pin Pin, name, dst string) error {
	if err := pin.Admits(name); err != nil {
		return err
	}
	body, err := a.segment(ctx, pin, name, a.patiently)
	if err != nil {
		return err
	}
	return local.Place(body, dst)
}

// segment reads a segment that the pin admits, and holds it against its header.
func (a *Archive) segment(ctx context.Context, pin Pin, name string, read func(ctx context.Context, key string) ([]byte, error)) ([]byte, error) {
	key := a.key(pin.SystemID, name)
	body, err := read(ctx, key)
	if fault.Has(err, fault.ObjectMissing) {
		return nil, fault.Newf(fault.WALGap, "fetch WAL", key, "it was there when the recovery was planned")
	}
	if err != nil {
		return nil, err
	}
	found, err := inspect(name, body)
	if err != nil {
		return nil, fault.New(fault.IntegrityError, "fetch WAL", key, err)
	}
	if found.SystemID != pin.SystemID {
		return nil, fault.Newf(fault.ForeignCluster, "fetch WAL", key, "it is of system %s", found.SystemID)
	}
	return body, nil
}

// fetchHistory gives histories of the timelines that the archive knew when it
// was pinned: PostgreSQL asks for newer ones when it is promoted, to find a
// number that is free.
func (a *Archive) fetchHistory(ctx context.Context, pin Pin, name, dst string) error {
	timeline, err := postgres.ParseHistoryName(name)
	if err != nil {
		return err
	}
	if timeline > pin.Newest {
		return fault.Newf(fault.WALEnd, "fetch WAL", name, "the newest timeline is %d", pin.Newest)
	}
	key := a.key(pin.SystemID, name)
	body, err := a.patiently(ctx, key)
	if fault.Has(err, fault.ObjectMissing) {
		if timeline > 1 && timeline == pin.Timeline && !slices.Contains(pin.Salvaged, timeline) {
			return fault.Newf(fault.WALGap, "fetch WAL", key, "it was there when the recovery was planned")
		}
		return fault.Newf(fault.WALEnd, "fetch WAL", name, "the archive has none, and the recovery needs none from it")
	}
	if err != nil {
		return err
	}
	if _, err := parseHistory(timeline, body); err != nil {
		return fault.New(fault.IntegrityError, "fetch WAL", key, err)
	}
	return local.Place(body, dst)
}

// patiently reads an object, again and again while the error may pass and
// patience lasts. A try that has begun may end: a slow network is no fault.
func (a *Archive) patiently(ctx context.Context, key string) ([]byte, error) {
	enough := time.After(a.cfg.Patience)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		body, err := a.cfg.Vault.GetSealed(ctx, key)
		if err == nil {
			return body, nil
		}
		if ctx.Err() != nil {
			return nil, fault.New(fault.StorageUnavailable, "fetch WAL", key, context.Cause(ctx))
		}
		if !fault.Retryable(err) {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-enough:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}
