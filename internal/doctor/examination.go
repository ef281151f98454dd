package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/service"
	"github.com/frende/lifeboat/internal/system"
)

// What holds when Config says nothing else.
const (
	defaultLimit = 5 * time.Second
	defaultWhole = 40 * time.Second
	slow         = 4 // limits that a check may take which reads whole tables
)

// grace is what a check that listens to its context gets to say why it failed.
const grace = 250 * time.Millisecond

// Config is what an examination needs. System, Parts and Services are needed.
type Config struct {
	System   system.System
	Findings system.Findings // what is wrong with its file, as system.Inspect gives it
	File     string          // the configuration, as advice names it
	Parts    *assembly.Assembly
	Services *service.Control

	Temporal         func(ctx context.Context) (client.Client, error)
	Namespace, Queue string                                   // that workers serve
	SearchAttributes func() map[string]enums.IndexedValueType // that runs set; nil: none

	Now   func() time.Time // nil: time.Now
	Limit time.Duration    // of one check; 0: 5 s
	Whole time.Duration    // of all of them; 0: 40 s
}

// Examination is a list of checks. It is made for one Run.
type Examination struct {
	Config
	checks []*question

	mu      sync.Mutex
	closers []func()
	known   []string // secrets, to be taken out of what is quoted
}

// question is one check of one subject. It is asked when all that it needs
// came out well and all that it comes after has come out.
type question struct {
	area          Area
	subject, name string
	needs, after  []*question
	limit         time.Duration
	look          func(ctx context.Context) answer

	answer answer
	done   chan struct{}
}

// answer is a finding without its name.
type answer struct {
	status          Status
	what, why, mend string
	because         *question // unknown: this one failed
	fix             *fix
}

// fix mends what a check found.
type fix struct {
	what string // "chmod 600 /etc/lifeboat/key"
	do   func(ctx context.Context) error
}

// New lists the checks of a system. Nothing is asked yet.
func New(c Config) *Examination {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limit = cmp.Or(c.Limit, defaultLimit)
	c.Whole = cmp.Or(c.Whole, defaultWhole)
	x := &Examination{Config: c}
	x.configuration()
	secrets := x.secrets()
	stores := x.stores(secrets)
	newest := x.backups(secrets, stores)
	databases := x.databases(secrets, stores, newest)
	caches := x.caches(secrets)
	x.files()
	x.tools(databases, caches)
	x.proofs(secrets, stores, databases)
	x.disk(newest)
	x.temporal()
	x.services(secrets)
	x.appChecks(databases, caches)
	slices.SortStableFunc(x.checks, func(a, b *question) int {
		return cmp.Compare(slices.Index(Areas(), a.area), slices.Index(Areas(), b.area))
	})
	return x
}

// add puts a check on the list.
func (x *Examination) add(area Area, subject, name string, look func(ctx context.Context) answer, needs ...*question) *question {
	c := &question{area: area, subject: subject, name: name, look: look, needs: needs, limit: x.Limit, done: make(chan struct{})}
	x.checks = append(x.checks, c)
	return c
}

// then has the check wait for others, however they come out.
func (c *question) then(after ...*question) *question {
	c.after = append(c.after, after...)
	return c
}

// slowly gives the check more time.
func (c *question) slowly() *question {
	c.limit *= slow
	return c
}

// failed says whether nothing can be built on the check.
func (c *question) failed() bool { return c.answer.status == Problem || c.answer.status == Unknown }

// root is the check that a chain of unknowns began with.
func (c *question) root() *question {
	for c.answer.status == Unknown && c.answer.because != nil {
		c = c.answer.because
	}
	return c
}

func (c *question) finding() Finding {
	f := Finding{
		Area: c.area, Subject: c.subject, Check: c.name, Status: c.answer.status,
		What: c.answer.what, Why: c.answer.why, Mend: c.answer.mend,
	}
	if c.answer.because != nil {
		f.Because = c.answer.because.finding().ID()
	}
	if c.answer.fix != nil {
		f.Fix = c.answer.fix.what
	}
	return f
}

// Names lists the checks as findings that are not answered yet.
func (x *Examination) Names() []Finding {
	names := make([]Finding, len(x.checks))
	for i, c := range x.checks {
		names[i] = Finding{Area: c.area, Subject: c.subject, Check: c.name}
	}
	return names
}

// Run asks every check, those that do not wait for each other at once. With
// areas, only these are reported, and what they need is asked. The context's end
// ends it: what was not asked by then is Unknown.
func (x *Examination) Run(ctx context.Context, areas ...Area) Report {
	began := x.Now()
	limited, cancel := context.WithTimeout(ctx, x.Whole)
	defer cancel()
	var asking sync.WaitGroup
	for _, c := range x.wanted(areas) {
		asking.Go(func() {
			defer close(c.done)
			c.answer = x.decide(limited, c)
		})
	}
	asking.Wait()
	report := Report{System: x.System.Name, At: began.UTC(), Took: system.Duration(x.Now().Sub(began).Round(time.Millisecond))}
	for _, c := range x.checks {
		if reported(areas, c) {
			report.Findings = append(report.Findings, c.finding())
		}
	}
	report.count()
	return report
}

func reported(areas []Area, c *question) bool {
	return len(areas) == 0 || slices.Contains(areas, c.area)
}

// wanted are the checks of the areas and all that they wait for.
func (x *Examination) wanted(areas []Area) []*question {
	taken := map[*question]bool{}
	var take func(c *question)
	take = func(c *question) {
		if !taken[c] {
			taken[c] = true
			for _, other := range slices.Concat(c.needs, c.after) {
				take(other)
			}
		}
	}
	for _, c := range x.checks {
		if reported(areas, c) {
			take(c)
		}
	}
	return slices.DeleteFunc(slices.Clone(x.checks), func(c *question) bool { return !taken[c] })
}

// decide waits for the conditions of a check, and asks it or says why not.
func (x *Examination) decide(ctx context.Context, c *question) answer {
	for _, other := range slices.Concat(c.needs, c.after) {
		<-other.done
	}
	for _, other := range c.needs {
		if other.failed() {
			return unexamined(other)
		}
	}
	if ctx.Err() != nil {
		return late()
	}
	return x.ask(ctx, c)
}

func late() answer {
	return answer{status: Unknown, what: "not examined: the time for all checks had run out", mend: "mend what gave no answer in time, and run it again"}
}

// ask puts the question, and leaves it behind when it does not come back: a dead
// file system holds whoever touches it.
func (x *Examination) ask(ctx context.Context, c *question) answer {
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	answers := make(chan answer, 1)
	go func() { answers <- c.look(limited) }()
	select {
	case given := <-answers:
		return given
	case <-limited.Done():
	}
	select {
	case given := <-answers:
		return given
	case <-time.After(grace):
		if ctx.Err() != nil {
			return late()
		}
		return problem(fmt.Sprintf("no answer within %s", c.limit),
			"what hangs now hangs in a recovery, too", "find out what it waits for: a network, a file system or an overloaded server")
	}
}

// onClose keeps what has to be closed in the end.
func (x *Examination) onClose(closing func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closers = append(x.closers, closing)
}

// Close ends the connections that checks have kept.
func (x *Examination) Close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, closing := range x.closers {
		closing()
	}
	x.closers = nil
}
