package vault

import (
	"context"
	"encoding/json"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
)

const formatKey = "format.json"

// formatRecord is format.json: whose store this is and what it is written in.
type formatRecord struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	System  string    `json:"system"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// claim makes sure, once, that the primary store is ours to write to: it writes
// format.json on first use. ConfigInvalid: the store is another system's.
func (v *Vault) claim(ctx context.Context, system string) error {
	v.mu.Lock()
	known := v.formatted[system]
	v.mu.Unlock()
	if known {
		return nil
	}
	if v.cfg.System != "" && system != v.cfg.System {
		return fault.Newf(fault.InputInvalid, "open store", v.cfg.Store.Name(), "a backup of system %q in the vault of %q", system, v.cfg.System)
	}
	found, err := readFormat(ctx, v.cfg.Store)
	if fault.Has(err, fault.ObjectMissing) {
		if err = v.writeFormat(ctx, system); err == nil || fault.Has(err, fault.ObjectExists) {
			found, err = readFormat(ctx, v.cfg.Store)
		}
	}
	if err != nil {
		return err
	}
	if err := found.belongs(v.cfg.Store, system); err != nil {
		return err
	}
	v.mu.Lock()
	v.formatted[system] = true
	v.mu.Unlock()
	return nil
}

// Writable asks the primary store whether it can be written, and leaves nothing
// new in it: format.json, which is there once anything is, is put again under
// the condition that it is not. Errors: StorageDenied, StorageUnavailable,
// StorageMissing; ConfigInvalid when the store is another system's.
func (v *Vault) Writable(ctx context.Context) error {
	if err := v.claim(ctx, v.cfg.System); err != nil {
		return err
	}
	if err := v.writeFormat(ctx, v.cfg.System); !fault.Has(err, fault.ObjectExists) {
		return err
	}
	return nil
}

// recognize makes sure, once, that this release reads what the store holds. A
// store without format.json is read as far as its objects allow.
func (v *Vault) recognize(ctx context.Context) error {
	v.mu.Lock()
	known := v.readable
	v.mu.Unlock()
	if known {
		return nil
	}
	err := v.eachStore(ctx, formatKey, func(s store.Store) error {
		found, err := readFormat(ctx, s)
		if err != nil {
			return err
		}
		return found.belongs(s, v.cfg.System)
	})
	if err != nil && !fault.Has(err, fault.ObjectMissing) {
		return err
	}
	v.mu.Lock()
	v.readable = true
	v.mu.Unlock()
	return nil
}

func (v *Vault) writeFormat(ctx context.Context, system string) error {
	id, err := randomHex(16)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(formatRecord{Format: "lifeboat", Version: formatVersion, System: system, ID: id, Created: v.now()})
	if err != nil {
		return fault.New(fault.InputInvalid, "write", formatKey, err)
	}
	_, err = v.cfg.Store.Put(ctx, formatKey, raw, store.PutOptions{IfNoneMatch: true})
	return err
}

func readFormat(ctx context.Context, s store.Store) (formatRecord, error) {
	var found formatRecord
	raw, err := readSmall(ctx, s, formatKey)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return found, fault.Newf(fault.IntegrityError, "read", formatKey, "not what Lifeboat writes")
	}
	if found.Format != "lifeboat" || found.Version != formatVersion {
		return found, fault.Newf(fault.FormatUnsupported, "open store", s.Name(), "format %q version %d", found.Format, found.Version)
	}
	return found, nil
}

// belongs refuses the store of another system; an empty name asks nothing.
func (f formatRecord) belongs(s store.Store, system string) error {
	if system == "" || f.System == system {
		return nil
	}
	return fault.Newf(fault.ConfigInvalid, "open store", s.Name(), "it belongs to system %q, not %q", f.System, system).
		WithHint("give each system a prefix or a bucket of its own")
}

// now is the time to the millisecond in UTC, as records have it.
func (v *Vault) now() time.Time { return v.cfg.Now().UTC().Truncate(time.Millisecond) }
