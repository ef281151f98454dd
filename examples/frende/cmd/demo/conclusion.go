package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/system"
)

// grace is what the database's recovery point may be older than archive_timeout.
const grace = 30 * time.Second

// runReport is what the demo reads of "lifeboat report --json".
type runReport struct {
	Outcome   string     `json:"outcome"`
	Started   time.Time  `json:"started"`
	Finished  time.Time  `json:"finished"`
	Disaster  time.Time  `json:"disaster"`
	Objective string     `json:"objective"`
	Points    []runPoint `json:"points"`
	Fallbacks []fallback `json:"fallbacks"`
	Steps     []runStep  `json:"steps"`
}

type runPoint struct {
	Component string    `json:"component"`
	Kind      string    `json:"kind"`
	Backup    string    `json:"backup"`
	LSN       string    `json:"lsn"`
	Time      time.Time `json:"time"`
	Until     time.Time `json:"until"`
	Proof     string    `json:"proof"`
}

type runStep struct {
	ID        string     `json:"id"`
	Attempts  int        `json:"attempts"`
	Bytes     int64      `json:"bytes"`
	Resumed   int64      `json:"resumed"`
	Fallbacks []fallback `json:"fallbacks"`
}

type fallback struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	From   string `json:"from"`
	To     string `json:"to"`
}

// rpa is how much older than the disaster a recovery point is.
func (r runReport) rpa(p runPoint) time.Duration { return r.Disaster.Sub(p.Time) }

func (r runReport) point(kind string) (runPoint, error) {
	for _, p := range r.Points {
		if p.Kind == kind {
			return p, nil
		}
	}
	return runPoint{}, fmt.Errorf("the report has no recovery point of kind %s", kind)
}

// fallbacks gives every object that came from the other region.
func (r runReport) fallbacks() []fallback {
	all := slices.Clone(r.Fallbacks)
	for _, step := range r.Steps {
		all = append(all, step.Fallbacks...)
	}
	slices.SortFunc(all, func(a, b fallback) int { return strings.Compare(a.Object, b.Object) })
	return slices.Compact(all)
}

// verdict is what the demo reads of the oracle's answer.
type verdict struct {
	Agreed        bool     `json:"agreed"`
	Required      int      `json:"required"`
	Lost          int      `json:"lost"`
	Rows          tally    `json:"rows"`
	Keys          tally    `json:"keys"`
	Files         tally    `json:"files"`
	Baseline      []string `json:"baseline"`
	Configuration []string `json:"configuration"`
	Problems      []string `json:"problems"`
}

type tally struct {
	Acknowledged int        `json:"acknowledged"`
	Required     int        `json:"required"`
	Straddling   int        `json:"straddling"`
	Excess       int        `json:"excess"`
	Found        int        `json:"found"`
	Lost         int        `json:"lost"`
	FirstGone    *time.Time `json:"first_gone"`
}

// conclude puts the recovery point on record, asks the oracle, and gives the
// last line. An error is a recovery that does not count.
func (d *demo) conclude(ctx context.Context, at time.Time, hit struck) (string, error) {
	report, path, err := d.report(ctx)
	if err != nil {
		return "", err
	}
	d.say("the recovery point, as it stands on the ledger before the oracle looks")
	for _, p := range report.Points {
		d.note("%-24s %s  RPA %-8s %s", p.Component, p.Time.Format(time.RFC3339Nano), brief(report.rpa(p)), strings.TrimSpace(p.LSN+" from "+p.Backup))
	}
	if err := d.evidence(report, hit); err != nil {
		return "", err
	}
	answer, err := d.judge(ctx, report)
	if err != nil {
		return "", err
	}
	if err := d.agree(ctx, report, at, answer); err != nil {
		return "", err
	}
	var points []string
	for _, kind := range d.kinds() {
		p, err := report.point(kind)
		if err != nil {
			return "", err
		}
		points = append(points, kind+" "+brief(report.rpa(p)))
	}
	return fmt.Sprintf("RECOVERED frende in %s (objective %s): lost at most (RPA) %s; %s; report %s",
		brief(report.Finished.Sub(at)), report.Objective, strings.Join(points, ", "), answer.losses(), path), nil
}

// kinds of what is recovered.
func (d *demo) kinds() []string {
	if d.disaster == disasterTable {
		return []string{"database"}
	}
	return []string{"database", "cache", "files", "configuration"}
}

// losses tells what became of the writes on both sides of the recovery point.
func (v verdict) losses() string {
	return fmt.Sprintf("%d of %d writes before the recovery point lost, %d acknowledged after it are gone", v.Lost, v.Required, v.Rows.Excess+v.Keys.Excess+v.Files.Excess)
}

// report reads the run's record from the ledger, and keeps it as Markdown, too.
func (d *demo) report(ctx context.Context) (runReport, string, error) {
	path := d.lab.Path("report.md")
	text, err := d.left(ctx, "report", d.recoveryID(), "--markdown").Output()
	if err != nil {
		return runReport{}, "", fmt.Errorf("lifeboat report --markdown: %w", err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return runReport{}, "", err
	}
	raw, err := d.left(ctx, "report", d.recoveryID(), "--json").Output()
	if err != nil {
		return runReport{}, "", fmt.Errorf("lifeboat report --json: %w", err)
	}
	var read runReport
	if err := json.Unmarshal(raw, &read); err != nil {
		return read, "", fmt.Errorf("lifeboat report --json: %w", err)
	}
	return read, path, nil
}

// evidence is what the report has to show of the chaos.
func (d *demo) evidence(report runReport, hit struck) error {
	switch d.chaos {
	case chaosWorker, chaosTemporal:
		var shown []string
		for _, step := range report.Steps {
			if step.Attempts > 1 {
				shown = append(shown, fmt.Sprintf("%s: attempt %d, %.1f of %.1f MB resumed", step.ID, step.Attempts, float64(step.Resumed)/1e6, float64(step.Bytes)/1e6))
			}
		}
		d.say("what the report shows of the kill of %s at %.0f %%", hit.what, hit.share*100)
		for _, line := range shown {
			d.note("%s", line)
		}
		if len(shown) == 0 {
			return errors.New("the report shows no second attempt")
		}
	case chaosChunk:
		d.say("what came from the other region")
		for _, f := range report.fallbacks() {
			d.note("%s: %s in %s, read from %s", f.Object, f.Reason, f.From, f.To)
		}
		if !slices.ContainsFunc(report.fallbacks(), func(f fallback) bool { return strings.HasSuffix(f.Object, d.harmed) }) {
			return fmt.Errorf("the report does not say that %s came from the other region", d.harmed)
		}
	}
	return nil
}

// judge asks the oracle, which looks at the servers and the disk itself. Nothing
// is missing of what was not recovered.
func (d *demo) judge(ctx context.Context, report runReport) (verdict, error) {
	database, err := report.point("database")
	if err != nil {
		return verdict{}, err
	}
	if d.disaster == disasterTable {
		at, now := d.accident.Format(time.RFC3339Nano), time.Now().Format(time.RFC3339Nano)
		return d.ask(ctx, database.LSN, now+","+now, now+","+now, "--restored-time", at+","+at)
	}
	cache, cacheErr := report.point("cache")
	files, filesErr := report.point("files")
	if err := errors.Join(cacheErr, filesErr); err != nil {
		return verdict{}, err
	}
	return d.ask(ctx, database.LSN, windowOf(cache), windowOf(files))
}

func windowOf(p runPoint) string {
	return p.Time.Format(time.RFC3339Nano) + "," + p.Until.Format(time.RFC3339Nano)
}

func (d *demo) ask(ctx context.Context, lsn, cache, files string, more ...string) (verdict, error) {
	d.say("ask the oracle")
	args := append([]string{"judge", "--config", d.config, "--log", d.oracleLog(), "--restored-lsn", lsn, "--cache-window", cache, "--files-window", files}, more...)
	cmd := d.lab.Command(ctx, d.program("oracle"), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	output, runErr := cmd.Output()
	var answer verdict
	if err := json.Unmarshal(output, &answer); err != nil {
		return answer, errors.Join(errors.New("the oracle could not judge"), runErr, errors.New(strings.TrimSpace(said.String())))
	}
	if answer.Agreed != (runErr == nil) {
		return answer, errors.Join(errors.New("the oracle contradicts itself"), runErr)
	}
	for _, kind := range []struct {
		name string
		tally
	}{{"rows", answer.Rows}, {"keys", answer.Keys}, {"files", answer.Files}} {
		d.note("%-5s %6d acknowledged: %6d before the recovery point, %d of them lost; %4d straddle it; %5d are past it", kind.name,
			kind.Acknowledged, kind.Required, kind.Lost, kind.Straddling, kind.Excess)
	}
	for _, problem := range slices.Concat(answer.Problems, answer.Baseline, answer.Configuration) {
		d.note("%s", problem)
	}
	return answer, os.WriteFile(d.lab.Path("verdict.json"), output, 0o644)
}

// agree says why the recovery does not count, if it does not.
func (d *demo) agree(ctx context.Context, report runReport, at time.Time, answer verdict) error {
	database, err := report.point("database")
	if err != nil {
		return err
	}
	if !answer.Agreed {
		return fmt.Errorf("the oracle disagrees: %d of %d writes before the recovery point lost; %s", answer.Lost, answer.Required,
			strings.Join(slices.Concat(answer.Problems, answer.Baseline, answer.Configuration), "; "))
	}
	if report.Outcome != "succeeded" {
		return fmt.Errorf("the report says %q", report.Outcome)
	}
	if report.Disaster.Sub(at).Abs() > time.Millisecond {
		return fmt.Errorf("the report counts from %s, not from the disaster at %s", report.Disaster, at)
	}
	if most := d.mostLost(); report.rpa(database) > most {
		return fmt.Errorf("the database's recovery point is %s old, more than %s", brief(report.rpa(database)), most)
	}
	if gone := answer.Rows.FirstGone; gone != nil {
		side := "before"
		if gone.After(at) {
			side = "after"
		}
		d.note("the first row that is gone was acknowledged %s %s the disaster", brief(at.Sub(*gone).Abs()), side)
		if gone.Before(database.Time) {
			return fmt.Errorf("a row acknowledged at %s is gone, and the report claims everything up to %s", gone.Format(time.RFC3339Nano), database.Time.Format(time.RFC3339Nano))
		}
	}
	return d.servesAgain(ctx)
}

// servesAgain asks the application for its page, as a visitor would.
func (d *demo) servesAgain(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.frontend+"/", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the application answers %s", response.Status)
	}
	return nil
}

// concludeUnharmed is the end when nothing could be recovered: the error that
// says so, after it was shown that the old system still holds every write.
func (d *demo) concludeUnharmed(ctx context.Context, failure error) error {
	if failure == nil {
		return fmt.Errorf("the recovery claims success, but %s is damaged in both regions", d.harmed)
	}
	if !strings.Contains(failure.Error(), d.harmed) {
		return fmt.Errorf("the recovery failed without naming %s: %w", d.harmed, failure)
	}
	d.say("start the old servers again, which nobody may have touched")
	for _, service := range []interface{ Start(context.Context) error }{d.postgres, d.redis} {
		if err := service.Start(ctx); err != nil {
			return errors.Join(failure, fmt.Errorf("the old system was harmed: %w", err))
		}
	}
	now := time.Now().Format(time.RFC3339Nano)
	answer, err := d.ask(ctx, "FFFFFFFF/FFFFFFFF", now+","+now, now+","+now)
	if err == nil && !answer.Agreed {
		err = fmt.Errorf("%d of %d writes are lost", answer.Lost, answer.Required)
	}
	if err != nil {
		return errors.Join(failure, fmt.Errorf("the old system was harmed: %w", err))
	}
	d.note("so it must end: what is damaged in every region is not recovered, and make says Error 1")
	return fmt.Errorf("%w; nothing of the old system was destroyed: it holds all %d writes that it acknowledged", failure, answer.Required)
}

// brief is a duration as Lifeboat says it.
func brief(t time.Duration) string { return system.Duration(t).Brief() }
