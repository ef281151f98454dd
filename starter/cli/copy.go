package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/workflows/api"
)

// makeCopy is "lifeboat recover database NAME --to-dir DIR".
func (a *app) makeCopy(ctx context.Context, args []string, f recoverFlags) error {
	for flag, given := range map[string]bool{"target": f.target != "", "dry-run": f.dryRun, "yes-destroy": f.destroy != "", "since": f.since != ""} {
		if given {
			return misread("--%s does not go with --to-dir, which touches no production", flag).WithHint("leave it out")
		}
	}
	if len(f.to) > 1 {
		return misread("--to-dir goes to one point").WithHint("give --to once")
	}
	to := plan.Latest
	if len(f.to) == 1 {
		to = f.to[0]
	}
	if _, err := plan.ParsePoint(to); err != nil {
		return err
	}
	if !filepath.IsAbs(f.toDir) {
		return fault.Newf(fault.InputInvalid, "copy to", f.toDir, "it is no absolute path").WithHint("name a directory on the worker's host: --to-dir /var/tmp/frende")
	}
	from := a.from
	a.from = "" // the records of the run go where they always go
	configured, err := a.system()
	if err != nil {
		return err
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	database, err := configured.Database(name)
	if err != nil {
		return err
	}
	c, err := a.temporal(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := api.CopyID(configured.Name, database.Name, a.Now())
	input := api.CopyInput{System: configured.Name, Component: database.Name, To: to, Dir: filepath.Clean(f.toDir), Delta: f.delta, By: a.who(), From: from}
	if _, err := a.start(ctx, c, id, api.CopyDatabase, "restore "+database.Name+" of "+configured.Name+" to "+input.Dir, input); err != nil {
		return err
	}
	if f.detach {
		return a.printID(id)
	}
	var result api.CopyResult
	if err := a.follow(ctx, c, id, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	a.say(restoredTo(result))
	return nil
}

// restoredTo is the last line of a copy.
func restoredTo(r api.CopyResult) string {
	return fmt.Sprintf("RESTORED %s, as it was at %s, to %s (%s); it is shut down, start it as the server's account, on a port that is free: %s",
		r.Component, r.Point.LSN, r.Dir, system.Bytes(r.Bytes).Human(), r.Start)
}
