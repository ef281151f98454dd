package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/frende/lifeboat/internal/check"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

// quoted is how many lines of a log are shown of a service that does not run.
const quoted = 3

func (x *Examination) services(secrets secretChecks) {
	for _, s := range x.System.Services {
		controlled := x.add(Services, s.Name, "control", func(context.Context) answer {
			if err := x.Services.Check(s); err != nil {
				return failure(err, "a recovery could neither stop nor start it")
			}
			return well("%s", s.Kind)
		})
		x.add(Services, s.Name, "running", func(ctx context.Context) answer { return x.running(ctx, s) }, controlled).then(secrets.all()...)
	}
}

// startCommand starts the service by hand.
func startCommand(s system.Service) string {
	switch s.Kind {
	case system.ServiceSystemd:
		return "systemctl start " + s.Unit
	case system.ServiceCompose:
		return fmt.Sprintf("docker compose --project-directory %s up --detach %s", s.Project, s.Unit)
	default:
		return strings.Join(s.Start, " ")
	}
}

func (x *Examination) running(ctx context.Context, s system.Service) answer {
	const why = "what it does for the application is not done, and a recovery finds it as it is now"
	state, err := x.Services.Status(ctx, s)
	if failed, ok := errors.AsType[*fault.Error](err); ok {
		return problem("what it does can't be seen"+because(failed.Cause), "a recovery asks the same, and could not stop or start it", failed.Hint)
	}
	if err != nil {
		return failure(err, why)
	}
	if state == service.Running {
		return well("it runs")
	}
	what := "it is " + string(state)
	lines, err := x.Services.LogTail(ctx, s, quoted, x.secretValues()...)
	switch {
	case err != nil:
		what += "; its log can't be read: " + told(err)
	case len(lines) > 0:
		what += "; the last lines of its log:\n  " + strings.Join(lines, "\n  ")
	}
	return problem(what, why, "unless a recovery runs: "+startCommand(s)+"\nits log: "+x.Services.LogPlace(s))
}

// appChecks ask the checks of the configuration once.
func (x *Examination) appChecks(databases map[string]*databaseExam, caches map[string]*cacheExam) {
	deps := check.Deps{Databases: x.System.Databases, Caches: x.System.Caches, Secret: x.Parts.Secret}
	for _, c := range x.System.Checks {
		once := c
		once.Within = 0
		asked := x.add(Checks, c.Name, string(c.Kind), func(ctx context.Context) answer {
			result, err := check.Run(ctx, once, deps)
			if err != nil {
				a := failure(err, "after a recovery it decides whether the application is back")
				if fault.Has(err, fault.CheckFailed) {
					a.mend = "look at what it asks, and at the logs of its services"
				}
				return a
			}
			return well("%s", result.Message)
		})
		if e := databases[c.Database]; e != nil && c.Kind == system.CheckSQL {
			asked.needs = append(asked.needs, e.rights)
		}
		if e := caches[c.Cache]; e != nil && c.Kind == system.CheckRedis {
			asked.needs = append(asked.needs, e.login)
		}
	}
}
