package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	lostTable = "matches"
	askEvery  = time.Second     // for the window
	askLonger = 2 * time.Minute // than archive_timeout
)

// accidentAndRecovery is the second half of the story when somebody drops a
// table: the time of the accident is looked for in the server's log, and the
// database goes back to it, to the commit. Nothing else is touched.
func (d *demo) accidentAndRecovery(ctx context.Context) (string, error) {
	d.say("DISASTER: somebody runs DROP TABLE %s CASCADE", lostTable)
	done, err := d.wreck(ctx, "table", "--config", d.config, "--table", lostTable)
	if err != nil {
		return "", err
	}
	if err := d.matchPeople(ctx); err == nil {
		return "", fmt.Errorf("%s is gone, and people can still be matched", done.Dropped)
	} else {
		d.note("the application goes on, and people complain: %v", err)
	}
	if err := d.findAccident(); err != nil {
		return "", err
	}
	to := d.accident.Format(time.RFC3339Nano)
	d.say("how far back can one go? lifeboat window database frende")
	if err := d.awaitWindow(ctx); err != nil {
		return "", fmt.Errorf("the window never came to hold %s: %w", to, err)
	}
	if err := d.shown(d.lifeboat(ctx, "window", "database", "frende")); err != nil {
		return "", err
	}
	if err := d.oracle.Stop(ctx); err != nil {
		return "", err
	}
	logged, err := d.logged()
	if err != nil {
		return "", err
	}
	d.note("the oracle has stopped: %d writes were acknowledged, before the accident and after it", logged)
	d.say("recover the database: lifeboat recover database frende --to %s --since %s --yes-destroy frende", to, to)
	d.noteWhere()
	if err := d.follow(d.lifeboat(ctx, "recover", "database", "frende", "--to", to, "--since", to, "--yes-destroy", "frende")); err != nil {
		return "", err
	}
	line, err := d.conclude(ctx, d.accident, struck{})
	if err != nil {
		return "", err
	}
	if err := d.matchPeople(ctx); err != nil {
		return "", fmt.Errorf("people still can't be matched: %w", err)
	}
	return line, nil
}

// dropped is a line of PostgreSQL's log that tells of the accident.
var dropped = regexp.MustCompile(`(?m)^(\S+ \S+ UTC) \[\d+\] LOG:  statement: DROP TABLE ` + lostTable + `\b.*$`)

// findAccident reads when it was. The server writes the line before it carries the
// statement out, so that nothing of it was committed by then. Who lost a deadlock
// has tried again: the last line counts.
func (d *demo) findAccident() error {
	log, err := os.ReadFile(d.postgres.LogFile())
	if err != nil {
		return err
	}
	all := dropped.FindAllSubmatch(log, -1)
	if len(all) == 0 {
		return fmt.Errorf("%s does not tell of the accident", d.postgres.LogFile())
	}
	last := all[len(all)-1]
	d.note("%s says: %s", d.postgres.LogFile(), bytes.TrimSpace(last[0]))
	d.accident, err = time.Parse("2006-01-02 15:04:05.000 MST", string(last[1]))
	return err
}

// awaitWindow waits until the archive tells of a transaction after the accident,
// which is what makes its time one that can be gone back to.
func (d *demo) awaitWindow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.archive+askLonger)
	defer cancel()
	asked := time.NewTicker(askEvery)
	defer asked.Stop()
	for {
		held, err := d.windowHolds(ctx)
		if err != nil || held {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-asked.C:
		}
	}
}

func (d *demo) windowHolds(ctx context.Context) (bool, error) {
	cmd := d.lifeboat(ctx, "window", "database", "frende", "--json")
	var said bytes.Buffer
	cmd.Stderr = &said
	output, err := cmd.Output()
	if err != nil {
		return false, fmt.Errorf("lifeboat window: %w: %s", err, strings.TrimSpace(said.String()))
	}
	var window struct {
		Spans []struct{ From, To time.Time }
	}
	if err := json.Unmarshal(output, &window); err != nil {
		return false, fmt.Errorf("lifeboat window --json: %w", err)
	}
	for _, span := range window.Spans {
		if !span.From.After(d.accident) && span.To.After(d.accident) {
			return true, nil
		}
	}
	return false, nil
}

// matchPeople matches two people as a visitor would.
func (d *demo) matchPeople(ctx context.Context) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.frontend+"/matches", strings.NewReader(`{"first":1,"second":2}`))
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST /matches is answered with %s", response.Status)
	}
	return nil
}
