package metrics

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
)

// How often the stores are looked at, however often somebody asks, and how long
// one look may take: Prometheus waits ten seconds.
const (
	lookEvery = 30 * time.Second
	lookTime  = 8 * time.Second
)

// StageTime is the limit of a look that keeps to the time it is given: it has three stages.
const StageTime = lookTime * 3 / 10

// Look sees how the system that is configured stands. Its error is that of the configuration.
type Look func(ctx context.Context) (system.System, status.Status, error)

// Stand adds how the system stands. look is asked at most every 30 seconds and
// given eight; what it could not see is not shown, rather than what was seen before.
func (m *Metrics) Stand(look Look, now func() time.Time) error {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	s := &stand{
		look: look, now: now, log: m.log,
		valid:     describe("lifeboat_config_valid", "1 when the configuration can be read and is valid; nothing else of this list is known when it is 0."),
		up:        describe("lifeboat_store_up", "1 when the store answered every question of the last look; what it holds is not shown when it is 0.", "store"),
		present:   describe("lifeboat_backup_present", "1 when a complete backup of the component is in a store that answers.", "component"),
		age:       describe("lifeboat_backup_age_seconds", "Time since the newest complete backup of the component was begun, in any store that answers.", "component"),
		proof:     describe("lifeboat_proof_level", "Highest proof level that the ledger has of the newest complete backup: 0 listed, 1 every byte read back, and so on.", "component"),
		proven:    describe("lifeboat_proven_age_seconds", "Time since a backup of the component was last proven at this level or a higher one; not shown when none is on record.", "component", "level"),
		dumped:    describe("lifeboat_dump_age_seconds", "Time since the newest dump of the database was begun; not shown when none is on record.", "component"),
		problems:  describe("lifeboat_problems", "Problems that lifeboat status tells now: late or wrong.", "kind"),
		rpo:       describe("lifeboat_rpo_seconds", "Age of what would come back if this store alone were left: the newest archived commit of a database, the newest backup of all else.", "component", "store"),
		objective: describe("lifeboat_objective_seconds", "Objectives as configured: rto and rpo of each component, rto of whole and critical.", "component", "objective"),
		took:      describe("lifeboat_look_duration_seconds", "How long the last look at the stores took."),
	}
	if err := m.own.Register(s); err != nil {
		return fault.New(fault.Unsupported, "register metrics of", "the stores", err)
	}
	return nil
}

type stand struct {
	look Look
	now  func() time.Time
	log  *zap.Logger

	valid, up, present, age, proof, proven, dumped, problems, rpo, objective, took *prometheus.Desc

	mu     sync.Mutex // held while looking: others wait for the same look
	seen   seen
	err    error
	lasted time.Duration
	at     time.Time // of the last look
}

// seen is what a look gave.
type seen struct {
	system system.System
	status status.Status
}

// stores gives the points of each store, in the order of the components.
func (s seen) stores() map[string][]status.Point {
	points := map[string][]status.Point{}
	for _, c := range s.status.Components {
		if s.status.Store != "" {
			points[s.status.Store] = append(points[s.status.Store], c.Bucket)
		}
		if c.Replica != nil {
			points[s.status.Replica] = append(points[s.status.Replica], *c.Replica)
		}
	}
	return points
}

// silent says whether a store left a question of the look unanswered.
func silent(points []status.Point) bool {
	return slices.ContainsFunc(points, func(p status.Point) bool { return p.State == status.Unreachable })
}

func (s *stand) Describe(to chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{s.valid, s.up, s.present, s.age, s.proof, s.proven, s.dumped, s.problems, s.rpo, s.objective, s.took} {
		to <- one
	}
}

func (s *stand) Collect(to chan<- prometheus.Metric) {
	seen, lasted, err := s.newest()
	gauge := func(of *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
	}
	if err != nil {
		gauge(s.valid, 0)
		return
	}
	gauge(s.valid, 1)
	gauge(s.took, lasted.Seconds())
	gauge(s.problems, float64(seen.status.Late), string(status.Late))
	gauge(s.problems, float64(seen.status.Wrong), string(status.Wrong))
	s.objectives(gauge, seen.system)
	s.proofs(gauge, seen.status)
	answered := false
	for store, points := range seen.stores() {
		if silent(points) {
			gauge(s.up, 0, store)
			continue
		}
		answered = true
		gauge(s.up, 1, store)
		for i, p := range points {
			if p.State == status.Known {
				gauge(s.rpo, since(s.now(), p.At), seen.status.Components[i].ID, store)
			}
		}
	}
	if !answered {
		return
	}
	for _, c := range seen.status.Components {
		if c.Backup == nil {
			gauge(s.present, 0, c.ID)
			continue
		}
		gauge(s.present, 1, c.ID)
		gauge(s.age, since(s.now(), c.Backup.At), c.ID)
		if c.Asked {
			gauge(s.proof, level(c.Proof), c.ID)
		}
	}
}

// proofs are when each component was proven and dumped, as the ledger has it.
func (s *stand) proofs(gauge func(*prometheus.Desc, float64, ...string), of status.Status) {
	for _, c := range of.Components {
		for _, one := range []struct {
			at     time.Time
			desc   *prometheus.Desc
			labels []string
		}{
			{c.Proven.L2, s.proven, []string{c.ID, "2"}}, {c.Proven.L3, s.proven, []string{c.ID, "3"}}, {c.Proven.Dumped, s.dumped, []string{c.ID}},
		} {
			if !one.at.IsZero() {
				gauge(one.desc, since(s.now(), one.at), one.labels...)
			}
		}
	}
}

func (s *stand) objectives(gauge func(*prometheus.Desc, float64, ...string), of system.System) {
	set := func(id, objective string, value system.Duration) {
		if value > 0 {
			gauge(s.objective, time.Duration(value).Seconds(), id, objective)
		}
	}
	set("whole", "rto", of.Objectives.RTO.System)
	set("critical", "rto", of.Objectives.RTO.Critical)
	for _, c := range of.Components() {
		set(c.ID, "rto", c.RTO)
		set(c.ID, "rpo", c.RPO)
	}
}

// newest looks, or gives the last look when it is recent enough.
func (s *stand) newest() (seen, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && s.now().Sub(s.at) < lookEvery {
		return s.seen, s.lasted, s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	s.at = s.now()
	s.seen.system, s.seen.status, s.err = s.look(ctx)
	s.lasted = s.now().Sub(s.at)
	if s.err != nil {
		s.log.Warn("the configuration can't be read", zap.Error(s.err))
	}
	for _, away := range s.seen.status.Away {
		s.log.Warn("a source of the status gave no answer", zap.String("source", away.Source), zap.String("why", away.Why))
	}
	return s.seen, s.lasted, s.err
}

// since is never negative: clocks of stores differ from ours.
func since(now, then time.Time) float64 { return max(0, now.Sub(then).Seconds()) }

// level is the number of a proof level; 0, listed, without one.
func level(proof string) float64 {
	number, err := strconv.Atoi(strings.TrimPrefix(proof, "L"))
	if err != nil {
		return 0
	}
	return float64(number)
}
