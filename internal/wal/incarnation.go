package wal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal/local"
)

// marker is the content of the file.
type marker struct {
	Cluster     string `json:"cluster"`
	SystemID    string `json:"system_id"`
	Incarnation int    `json:"incarnation"`
	Token       string `json:"token"` // the same in the archive
	identity           // of the directory
	Home        string `json:"home,omitempty"` // name of the store that it archives to; "" is the configured primary
}

// incarnation is the object that makes a directory the one that archives.
type incarnation struct {
	Number int       `json:"number"`
	Token  string    `json:"token"`
	At     time.Time `json:"at"`
	Host   string    `json:"host"`
}

// asked is what newestIncarnation gave.
type asked struct {
	incarnation
	err error
}

// askNewest asks for the newest incarnation, beside other work.
func (a *Archive) askNewest(ctx context.Context, systemID string) <-chan asked {
	answer := make(chan asked, 1)
	go func() {
		newest, err := a.newestIncarnation(ctx, systemID)
		answer <- asked{newest, err}
	}()
	return answer
}

// mayPush says whether the directory is the newest incarnation; the first
// directory of a system that ever pushes becomes number 1.
func (a *Archive) mayPush(ctx context.Context, newest incarnation, systemID, dataDir string) error {
	if newest.Number == 0 {
		return a.become(ctx, systemID, dataDir, 1)
	}
	return a.holds(newest, systemID, dataDir)
}

// holds compares the directory's marker with the newest incarnation.
func (a *Archive) holds(newest incarnation, systemID, dataDir string) error {
	held := func(format string, args ...any) error {
		return fault.Newf(fault.WALHeld, "push WAL from", dataDir, format, args...)
	}
	mine, err := readMarker(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return held("it has no %s, and incarnation %d archives here", MarkerName, newest.Number)
	}
	if err != nil {
		return fault.New(fault.PathFailed, "read", filepath.Join(dataDir, MarkerName), err)
	}
	here, err := identify(dataDir)
	if err != nil {
		return err
	}
	switch {
	case !mine.same(here):
		return held("it is a copy of the directory that archives here, or has come from another machine")
	case mine.Cluster != a.cfg.Cluster || mine.SystemID != systemID:
		return held("its marker is for cluster %s, system %s", mine.Cluster, mine.SystemID)
	case mine.Incarnation != newest.Number || mine.Token != newest.Token:
		return held("it is incarnation %d, and incarnation %d archives here since %s", mine.Incarnation, newest.Number, newest.At.Format(time.RFC3339))
	}
	return nil
}

// Claim makes dataDir the one directory that archives here from now on. Only a
// cut-over calls it, after the old server is fenced. The claim stays with the
// directory when it is renamed. It may be repeated.
func (a *Archive) Claim(ctx context.Context, systemID, dataDir string) error {
	if err := local.CheckSystemID("claim WAL archive for", systemID); err != nil {
		return err
	}
	newest, err := a.newestIncarnation(ctx, systemID)
	if err != nil {
		return err
	}
	if newest.Number > 0 && a.holds(newest, systemID, dataDir) == nil {
		return nil
	}
	return a.become(ctx, systemID, dataDir, newest.Number+1)
}

// become writes the marker, then the object that it speaks of: a crash between
// the two is repaired by the next try, which finds its own marker and goes on.
func (a *Archive) become(ctx context.Context, systemID, dataDir string, number int) error {
	here, err := identify(dataDir)
	if err != nil {
		return err
	}
	mine := marker{
		Cluster: a.cfg.Cluster, SystemID: systemID, Incarnation: number, Token: rand.Text(), identity: here, Home: a.cfg.Home,
	}
	if old, err := readMarker(dataDir); err == nil {
		mine.Token = old.Token
		if old != mine {
			mine.Token = rand.Text()
		}
	}
	if err := a.writeMarker(dataDir, mine); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fault.New(fault.PathFailed, "read", "host name", err)
	}
	body, err := json.Marshal(incarnation{Number: number, Token: mine.Token, At: a.cfg.Now().UTC(), Host: host})
	if err != nil {
		return fault.New(fault.InputInvalid, "claim WAL archive for", dataDir, err)
	}
	err = a.cfg.Vault.PutSealed(ctx, a.incarnationKey(systemID, number), a.dayKey(), body, vault.SealedOptions{IfNoneMatch: true})
	if !fault.Has(err, fault.ObjectExists) {
		return err
	}
	winner, err := a.incarnation(ctx, systemID, number)
	if err != nil {
		return err
	}
	if winner.Token != mine.Token {
		return fault.Newf(fault.WALHeld, "claim WAL archive for", dataDir, "host %s claimed incarnation %d at %s", winner.Host, number, winner.At.Format(time.RFC3339))
	}
	return nil
}

func (a *Archive) incarnationKey(systemID string, number int) string {
	return fmt.Sprintf("%sincarnation/%08d", a.root(systemID), number)
}

// newestIncarnation asks the primary store alone: an older answer from a
// replica would let two directories archive. Number 0 is none.
func (a *Archive) newestIncarnation(ctx context.Context, systemID string) (incarnation, error) {
	infos, err := listIn(ctx, a.cfg.Vault.Store(), a.root(systemID)+"incarnation/", store.ListOptions{})
	if err != nil || len(infos) == 0 {
		return incarnation{}, err
	}
	name := infos[len(infos)-1].Key
	number, err := strconv.Atoi(name)
	if err != nil {
		return incarnation{}, fault.New(fault.IntegrityError, "read incarnation", a.root(systemID)+"incarnation/"+name, err)
	}
	return a.incarnation(ctx, systemID, number)
}

func (a *Archive) incarnation(ctx context.Context, systemID string, number int) (incarnation, error) {
	key := a.incarnationKey(systemID, number)
	if known, ok := a.read.Load(key); ok {
		if known, ok := known.(incarnation); ok {
			return known, nil
		}
	}
	body, err := a.cfg.Vault.GetSealed(ctx, key)
	if err != nil {
		return incarnation{}, err
	}
	var found incarnation
	if err := json.Unmarshal(body, &found); err != nil || found.Number != number {
		return incarnation{}, fault.Newf(fault.IntegrityError, "read incarnation", key, "it says that it is number %d", found.Number)
	}
	a.read.Store(key, found)
	return found, nil
}

func readMarker(dataDir string) (marker, error) {
	body, err := os.ReadFile(filepath.Join(dataDir, MarkerName))
	if err != nil {
		return marker{}, err
	}
	var m marker
	return m, json.Unmarshal(body, &m)
}

// writeMarker leaves the file to the owner of the directory.
func (a *Archive) writeMarker(dataDir string, m marker) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fault.New(fault.InputInvalid, "write marker", dataDir, err)
	}
	path := filepath.Join(dataDir, MarkerName)
	if err := local.WriteFile("write marker", path, body, 0o600); err != nil {
		return err
	}
	info, err := os.Stat(dataDir)
	if err != nil {
		return fault.New(fault.PathFailed, "write marker", path, err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(path, int(stat.Uid), int(stat.Gid)); err != nil {
			return fault.New(fault.PathFailed, "write marker", path, err)
		}
	}
	return nil
}
