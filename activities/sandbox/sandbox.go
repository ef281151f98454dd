// Package sandbox makes and clears the place that a drill recovers to, and sees
// to it that no drill runs into a recovery.
package sandbox

import (
	"context"
	"net"
	"strconv"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/temporal"
)

// Deps are what the activities need of their host.
type Deps struct {
	// Recovering lists the workflow IDs of the recoveries of production's components that run now.
	Recovering func(ctx context.Context, s system.System) ([]string, error)
}

// Activities make and clear sandboxes.
type Activities struct{ deps Deps }

// New returns the activities.
func New(deps Deps) *Activities { return &Activities{deps: deps} }

// MakeInput names the sandbox.
type MakeInput struct {
	System system.System `json:"system"`
	Target system.Target `json:"target"`
}

// ClearInput names the sandbox.
type ClearInput = MakeInput

// ClearResult says what was found afterwards.
type ClearResult struct {
	Ended int      `json:"ended"`          // processes that no stop command had ended
	Left  []string `json:"left,omitempty"` // what could not be removed; empty: nothing is left
}

// Make makes the sandbox, empty. It fails with RecoveryRunning while production
// is being recovered, which a drill must not slow down, and with TargetRefused
// when the place is not a drill's own.
func (a *Activities) Make(ctx context.Context, in MakeInput) error {
	stop := temporal.Heartbeats(ctx, func() any { return nil })
	defer stop()
	running, err := a.deps.Recovering(ctx, in.System)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fault.Newf(fault.RecoveryRunning, "rehearse beside", running[0], "production is being recovered").
			WithHint("run the drill when it has ended: lifeboat watch %s", running[0])
	}
	s, err := at(in)
	if err != nil {
		return err
	}
	return s.Make(ctx)
}

// Clear ends whatever still works in the sandbox, removes it, and says what is left.
func (a *Activities) Clear(ctx context.Context, in ClearInput) (ClearResult, error) {
	stop := temporal.Heartbeats(ctx, func() any { return nil })
	defer stop()
	s, err := at(in)
	if err != nil {
		return ClearResult{}, err
	}
	var result ClearResult
	if result.Ended, err = s.Clear(ctx); err != nil {
		return result, err
	}
	result.Left, err = s.Left(ctx)
	return result, err
}

// at is the sandbox's place on this host, and what of production it must not touch.
func at(in MakeInput) (target.Sandbox, error) {
	if in.Target.Kind != system.TargetSandbox || in.Target.Root == "" {
		return target.Sandbox{}, fault.Newf(fault.InputInvalid, "use sandbox", in.Target.Name, "it is of kind %s", in.Target.Kind)
	}
	mapped, _, err := in.System.ForTarget(in.Target.Name)
	if err != nil {
		return target.Sandbox{}, err
	}
	s := target.Sandbox{Root: in.Target.Root}
	for _, d := range mapped.Databases {
		s.Ports = append(s.Ports, d.Port)
	}
	for _, c := range mapped.Caches {
		_, text, err := net.SplitHostPort(c.Address)
		if err != nil {
			return s, fault.New(fault.ConfigInvalid, "use sandbox", in.Target.Name, err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return s, fault.New(fault.ConfigInvalid, "use sandbox", in.Target.Name, err)
		}
		s.Ports = append(s.Ports, port)
	}
	for _, d := range in.System.Databases {
		s.Keep = append(s.Keep, d.DataDir, d.ConfigDir)
	}
	for _, c := range in.System.Caches {
		s.Keep = append(s.Keep, c.DataDir)
	}
	for _, f := range append(append([]system.FileSet{}, in.System.Files...), in.System.Configurations...) {
		s.Keep = append(s.Keep, f.Root)
	}
	kept := s.Keep[:0]
	for _, dir := range s.Keep {
		if dir != "" {
			kept = append(kept, dir)
		}
	}
	s.Keep = kept
	return s, nil
}
