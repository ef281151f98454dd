package vault

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// JudgeInput is a verdict on a backup.
type JudgeInput struct {
	System system.System `json:"system"`
	Key    string        `json:"key"`
	Level  string        `json:"level"` // that was tried: "L3"
	Run    string        `json:"run"`
	At     time.Time     `json:"at"`
	Damage string        `json:"damage,omitempty"` // what is wrong; "": it passed
}

// Judge puts a verdict beside the backup, for whoever chooses one to recover from.
func (a *Activities) Judge(ctx context.Context, in JudgeInput) error {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return err
	}
	backup, err := opened.Open(ctx, in.Key)
	if err != nil {
		return err
	}
	return backup.Judge(ctx, vault.Verdict{Level: in.Level, Passed: in.Damage == "", Run: in.Run, At: in.At, What: in.Damage})
}

// ChooseInput says of which component a backup is looked for.
type ChooseInput struct {
	System    system.System    `json:"system"`
	Component system.Component `json:"component"`
	Random    bool             `json:"random,omitempty"` // one before the newest, by chance; else the newest
	Seed      string           `json:"seed,omitempty"`   // the same one chooses the same
	With      string           `json:"with,omitempty"`   // random: only one beside which this is kept
	Base      bool             `json:"base,omitempty"`   // random: no dump
}

// ChooseResult is the backup; "" when there is none to choose from.
type ChooseResult struct {
	Key string `json:"key,omitempty"`
}

// Choose gives the newest complete backup of a component, damaged or not, or one
// before it. BackupUnknown: the component has none at all.
func (a *Activities) Choose(ctx context.Context, in ChooseInput) (ChooseResult, error) {
	opened, err := a.deps.Vault(ctx, in.System, nil)
	if err != nil {
		return ChooseResult{}, err
	}
	_, stop := heartbeat(ctx)
	defer stop()
	filter := vault.Filter{Folder: folder(in.Component.Kind), Component: in.Component.Name}
	newest, err := opened.Latest(ctx, filter)
	if err != nil || !in.Random {
		return ChooseResult{Key: newest.Key}, err
	}
	var older []string
	for one, err := range opened.Backups(ctx, filter) {
		if err != nil {
			return ChooseResult{}, err
		}
		if one.Complete && one.At.Before(newest.At) && (!in.Base || !vault.IsDump(one.Kind)) {
			older = append(older, one.Key)
		}
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(in.Seed)) // it never fails
	random := rand.New(rand.NewPCG(hash.Sum64(), 0))
	random.Shuffle(len(older), func(i, j int) { older[i], older[j] = older[j], older[i] })
	for _, key := range older {
		ok, err := keeps(ctx, opened, key, in.With)
		if err != nil {
			return ChooseResult{}, err
		}
		if ok {
			return ChooseResult{Key: key}, nil
		}
	}
	return ChooseResult{}, nil
}

func keeps(ctx context.Context, opened *vault.Vault, key, name string) (bool, error) {
	if name == "" {
		return true, nil
	}
	backup, err := opened.Open(ctx, key)
	if err != nil {
		return false, err
	}
	var kept json.RawMessage
	err = backup.Kept(ctx, name, &kept)
	if fault.Has(err, fault.ObjectMissing) {
		return false, nil
	}
	return err == nil, err
}

// folder is where the backups of a kind lie in a store (docs/FORMAT.md).
func folder(kind system.ComponentKind) string {
	name, ok := map[system.ComponentKind]string{system.KindDatabase: "database", system.KindCache: "redis", system.KindFiles: "file", system.KindConfiguration: "config"}[kind]
	if !ok {
		name = strings.ToLower(string(kind))
	}
	return name + "-backups"
}
