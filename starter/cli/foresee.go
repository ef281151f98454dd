package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
)

// foreseeing is how long a dry run looks into the stores.
const foreseeing = 15 * time.Second

// foresee prints the plan of a recovery, with the backups that it would take now.
// A backup that is named has to be there; where the newest ones can't be looked
// for, the plan stands without their names.
func (a *app) foresee(ctx context.Context, s *system.System, o plan.Options, planned plan.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, foreseeing)
	defer cancel()
	parts := assembly.New(assembly.Config{Env: a.Env, Memory: int64(s.Limits.Memory), Now: a.Now, OnSecret: a.secrets.Add, Retry: impatient()})
	opened, err := parts.Vault(ctx, *s, a.fellBack)
	if err == nil {
		err = openNamed(ctx, opened, s.Name, planned.Backups)
	}
	if err != nil && len(planned.Backups) > 0 {
		return err
	}
	var missing error
	switch {
	case err == nil && !planned.Point.Newest(): // which ones lead there is found by the recovery, before it touches anything
	case err == nil:
		o.Newest, missing = newestOf(ctx, opened, planned)
	default:
		missing = err
	}
	o.From = a.from
	if planned, err = plan.Recovery(*s, o); err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(planned)
	} else {
		_, err = fmt.Fprint(a.Stdout, planned.Text())
	}
	if err != nil {
		return err
	}
	if fault.Has(missing, fault.StorageUnavailable) || fault.Has(missing, fault.SecretUnavailable) {
		fmt.Fprintf(a.Stderr, "lifeboat: the newest backups are not named: %s\n", a.secrets.Redact(missing.Error()))
		return nil
	}
	return missing
}

// openNamed opens the backups that the command line names.
func openNamed(ctx context.Context, v *vault.Vault, of string, keys map[string]string) error {
	for _, key := range keys {
		backup, err := v.Open(ctx, key)
		if err != nil {
			return err
		}
		if manifest := backup.Manifest(); manifest.System != of {
			return fault.Newf(fault.BackupUnknown, "look for backup", key, "it belongs to the system %q", manifest.System)
		}
	}
	return nil
}

// newestOf gives the keys of the backups that the others go to, and the first
// fault for which one would not be recovered.
func newestOf(ctx context.Context, v *vault.Vault, planned plan.Plan) (keys map[string]string, missing error) {
	keys = map[string]string{}
	for _, c := range planned.Components {
		if planned.Backups[c.ID] != "" {
			continue
		}
		newest, err := v.OpenLatest(ctx, vault.Filter{Folder: c.Kind.Folder(), Component: c.Name})
		switch {
		case err == nil:
			keys[c.ID] = newest.Manifest().Key
		case missing == nil:
			missing = err
		}
	}
	return keys, missing
}
