package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/plan"
	"github.com/frende/lifeboat/internal/report"
)

const recoveryID = "recover/frende"

// frende measures what is measured on the demo's ground: the demo, and then
// what goes on in what it leaves running.
func (b *bench) frende(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "frende")
	defer func() { err = removeLab(ctx, dir, err) }()
	took, err := b.demo(ctx, dir)
	if err != nil {
		return err
	}
	g, err := openGround(ctx, dir)
	if err != nil {
		return err
	}
	defer g.client.Close()
	if err := b.overhead(ctx, g); err != nil {
		return fmt.Errorf("recovery_overhead: %w", err)
	}
	if err := awaitQuiet(ctx, g.client); err != nil {
		return err
	}
	for _, part := range []struct {
		figure  string
		measure func(context.Context, *ground) error
	}{{"status", b.status}, {"drill", b.drill}, {"replication_lag", b.lag}} {
		if !b.wants(part.figure) {
			continue
		}
		if err := part.measure(ctx, g); err != nil {
			return fmt.Errorf("%s: %w", part.figure, err)
		}
		if err := awaitQuiet(ctx, g.client); err != nil {
			return err
		}
	}
	if b.wants("resumption") {
		if err := b.resumption(ctx, g); err != nil {
			return fmt.Errorf("resumption: %w", err)
		}
	}
	if b.wants("memory_backup", "memory_verify") {
		if err := b.memory(ctx, g); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	ending := time.Now()
	if err := g.lab.End(ctx); err != nil {
		return err
	}
	took += time.Since(ending) // the demo itself was told to leave all running
	b.tell(figure{name: "demo", value: took.Seconds(), unit: "s", must: 180, aim: 120})
	return nil
}

// demo runs make demo as anybody would, but leaves everything running.
func (b *bench) demo(ctx context.Context, dir string) (time.Duration, error) {
	flags := "-dir " + dir
	if !b.wants("demo") {
		flags += " -settle 1s -spread 1s"
	}
	cmd := exec.CommandContext(ctx, "make", "demo", "KEEP=1", "CHAOS=", "ARGS="+flags)
	cmd.Dir = b.root
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	b.note("make demo, load average %s", loadAverage())
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		return took, fmt.Errorf("make demo: %w: %s", err, tail(said.String(), 10))
	}
	b.note("%s", tail(said.String(), 1))
	return took, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// overhead compares what the demo's recovery took with its critical path.
func (b *bench) overhead(ctx context.Context, g *ground) error {
	raw, err := g.lifeboat(ctx, "report", recoveryID, "--json")
	if err != nil {
		return err
	}
	var run report.Run
	if err := json.Unmarshal(raw, &run); err != nil {
		return err
	}
	if raw, err = g.lifeboat(ctx, "recover", "system", "--dry-run", "--json"); err != nil {
		return err
	}
	var planned plan.Plan
	if err := json.Unmarshal(raw, &planned); err != nil {
		return err
	}
	_, done, err := pastOf(ctx, g.client, run.ID, run.RunID)
	if err != nil {
		return err
	}
	took := map[string]time.Duration{}
	for id, activity := range done {
		if !activity.completed.After(run.Finished) { // the report is filed after the end
			took[id] = activity.took()
		}
	}
	path, critical := planned.CriticalPath(took)
	pinning := took["configuration"] // comes before the plan, which is made of it
	critical += pinning
	wall := run.Finished.Sub(run.Started)
	b.note("RecoverSystem took %d ms, the critical path of its activities %d ms, that of its steps as the workflow saw them %d ms",
		wall.Milliseconds(), critical.Milliseconds(), run.Critical.Std().Milliseconds())
	var told []string
	for _, id := range append([]string{"configuration"}, path...) {
		told = append(told, fmt.Sprintf("%s %d", id, took[id].Milliseconds()))
	}
	b.note("critical path in ms: %s", strings.Join(told, ", "))
	if outside := unplanned(planned, took); len(outside) > 0 {
		b.note("counted as overhead, not being in the plan: %s", strings.Join(outside, ", "))
	}
	b.tell(figure{
		name: "recovery_overhead", value: milliseconds(wall - critical), unit: "ms",
		must: 1000 + 0.02*milliseconds(wall), aim: 500 + 0.01*milliseconds(wall),
	})
	return nil
}

// unplanned gives the activities that the plan does not know.
func unplanned(p plan.Plan, took map[string]time.Duration) []string {
	left := maps.Clone(took)
	delete(left, "configuration")
	for _, step := range p.Steps {
		delete(left, step.ID)
	}
	return slices.Sorted(maps.Keys(left))
}

func milliseconds(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
