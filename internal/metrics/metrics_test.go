package metrics_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"go.yaml.in/yaml/v4"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/internal/metrics"
	"github.com/frende/lifeboat/internal/status"
	"github.com/frende/lifeboat/internal/system"
)

var now = time.Date(2024, 1, 15, 9, 41, 22, 0, time.UTC)

// scene is the metrics of a worker, and what it would see in the stores.
type scene struct {
	*metrics.Metrics
	configured system.System
	seen       status.Status
	err        error
	looks      int
	now        time.Time
}

func newScene(t *testing.T) *scene {
	t.Helper()
	m, err := metrics.New("frende", zap.NewNop())
	require.NoError(t, err)
	s := &scene{Metrics: m, now: now}
	hour := system.Duration(time.Hour)
	s.configured = system.System{
		Objectives: system.Objectives{RTO: system.RTO{System: hour, Critical: hour / 2}},
		Databases:  []system.Database{{Name: "frende", RTO: hour / 4, RPO: hour}},
		Caches:     []system.Cache{{Name: "sessions", RPO: hour}},
	}
	database := status.Backup{Key: "database-backups/new", Store: "primary", At: now.Add(-7 * time.Hour)}
	cache := status.Backup{Key: "redis-backups/new", Store: "primary", At: now.Add(-10 * time.Minute)}
	s.seen = status.Status{Store: "primary", Replica: "dr", Late: 2, Components: []status.Component{
		{
			ID: "database/frende", Backup: &database, Proof: "L1", Asked: true,
			Proven:  status.Proven{L2: now.Add(-time.Hour), L3: now.Add(-2 * time.Hour), Dump: "database-backups/dump", Dumped: now.Add(-3 * time.Hour)},
			Bucket:  status.Point{State: status.Known, Backup: database.Key, At: now.Add(-time.Minute)},
			Replica: &status.Point{State: status.Known, Backup: "database-backups/old", At: now.Add(-2 * time.Minute)},
		},
		{
			ID: "cache/sessions", Backup: &cache, Asked: true,
			Bucket:  status.Point{State: status.Known, Backup: cache.Key, At: now.Add(-10 * time.Minute)},
			Replica: &status.Point{State: status.None},
		},
	}}
	require.NoError(t, m.Stand(func(ctx context.Context) (system.System, status.Status, error) {
		deadline, bounded := ctx.Deadline()
		require.True(t, bounded)
		require.Less(t, time.Until(deadline), 10*time.Second, "Prometheus waits no longer")
		s.looks++
		return s.configured, s.seen, s.err
	}, func() time.Time { return s.now }))
	return s
}

// scrape gives the lines of Lifeboat's own metrics.
func (s *scene) scrape(t *testing.T) string {
	t.Helper()
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	var own []string
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "lifeboat_") {
			own = append(own, strings.ReplaceAll(line, `,system="frende"`, ""))
		}
	}
	return strings.Join(own, "")
}

func TestObjectivesStandBesideWhatIsReached(t *testing.T) {
	s := newScene(t)
	text := s.scrape(t)
	for _, line := range []string{
		`lifeboat_config_valid{system="frende"} 1`,
		`lifeboat_store_up{store="primary"} 1`, `lifeboat_store_up{store="dr"} 1`,
		`lifeboat_backup_present{component="database/frende"} 1`,
		`lifeboat_backup_age_seconds{component="database/frende"} 25200`, `lifeboat_backup_age_seconds{component="cache/sessions"} 600`,
		`lifeboat_proof_level{component="database/frende"} 1`, `lifeboat_proof_level{component="cache/sessions"} 0`,
		`lifeboat_proven_age_seconds{component="database/frende",level="2"} 3600`, `lifeboat_proven_age_seconds{component="database/frende",level="3"} 7200`,
		`lifeboat_dump_age_seconds{component="database/frende"} 10800`, `lifeboat_problems{kind="late"} 2`, `lifeboat_problems{kind="wrong"} 0`,
		`lifeboat_rpo_seconds{component="database/frende",store="primary"} 60`, `lifeboat_rpo_seconds{component="database/frende",store="dr"} 120`,
		`lifeboat_rpo_seconds{component="cache/sessions",store="primary"} 600`,
		`lifeboat_objective_seconds{component="database/frende",objective="rpo"} 3600`, `lifeboat_objective_seconds{component="database/frende",objective="rto"} 900`,
		`lifeboat_objective_seconds{component="whole",objective="rto"} 3600`, `lifeboat_objective_seconds{component="critical",objective="rto"} 1800`,
	} {
		require.Contains(t, text, line+"\n")
	}
	require.NotContains(t, text, `component="cache/sessions",store="dr"`, "the replica has no backup of it")
}

func TestTheStoresAreLookedAtOnceInThirtySecondsAndAgesGrowMeanwhile(t *testing.T) {
	s := newScene(t)
	s.scrape(t)
	s.now = now.Add(29 * time.Second)
	require.Contains(t, s.scrape(t), `lifeboat_backup_age_seconds{component="cache/sessions"} 629`)
	require.Equal(t, 1, s.looks)
	s.now = now.Add(30 * time.Second)
	s.scrape(t)
	require.Equal(t, 2, s.looks)
}

func TestARecoveryThatWouldFailHasNoPoint(t *testing.T) {
	s := newScene(t)
	s.seen.Components[0].Bucket = status.Point{State: status.Broken, Backup: "database-backups/new"}
	text := s.scrape(t)
	require.Contains(t, text, `lifeboat_store_up{store="primary"} 1`)
	require.NotContains(t, text, `lifeboat_rpo_seconds{component="database/frende",store="primary"}`)
	require.Contains(t, text, `lifeboat_rpo_seconds{component="database/frende",store="dr"} 120`)
}

func TestWhatCanNotBeSeenIsNotShown(t *testing.T) {
	s := newScene(t)
	s.scrape(t)
	down := status.Point{State: status.Unreachable, Why: "connection refused", Fault: fault.StorageUnavailable}
	old := status.Backup{Key: "database-backups/old", Store: "dr", At: now.Add(-31 * time.Hour)}
	database, cache := &s.seen.Components[0], &s.seen.Components[1]

	database.Bucket, cache.Bucket = down, down
	database.Backup, cache.Backup = &old, nil // those of the replica alone
	s.now = s.now.Add(time.Minute)
	text := s.scrape(t)
	require.Contains(t, text, `lifeboat_store_up{store="primary"} 0`)
	require.NotContains(t, text, `store="primary"} 60`)
	require.Contains(t, text, `lifeboat_backup_age_seconds{component="database/frende"} 111660`, "the replica's is the newest that is known of")
	require.Contains(t, text, `lifeboat_backup_present{component="cache/sessions"} 0`)

	database.Replica, cache.Replica = &down, &down
	database.Backup = nil
	s.now = s.now.Add(time.Minute)
	text = s.scrape(t)
	for _, name := range []string{"lifeboat_backup", "lifeboat_proof", "lifeboat_rpo"} {
		require.NotContains(t, text, name)
	}
	require.Contains(t, text, "lifeboat_objective_seconds")

	s.err = fault.New(fault.ConfigInvalid, "read configuration", "lifeboat.yaml", nil)
	s.now = s.now.Add(time.Minute)
	require.Equal(t, "lifeboat_config_valid{system=\"frende\"} 0\n", s.scrape(t))
}

type movedBytes struct{ N int64 }

func (m movedBytes) Moved() (string, int64) { return "restore", m.N }

type checked struct{}

func (checked) Held() (string, int, int, int) { return "database/frende", 3, 0, 2 }

type filed struct{ Outcome string }

func (f filed) Ended() (string, string, time.Duration, time.Time, bool) {
	return "production", f.Outcome, 22 * time.Second, now, true
}

func TestStepsAreCountedAsTheyEnd(t *testing.T) {
	s := newScene(t)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{s.Interceptor()}})
	env.RegisterActivityWithOptions(func(_ context.Context, how string) (movedBytes, error) {
		switch how {
		case "fails":
			return movedBytes{}, fault.New(fault.StorageUnavailable, "get", "chunk", nil)
		case "unnamed":
			return movedBytes{}, errors.New("what was that")
		case "cancelled":
			return movedBytes{}, context.Canceled
		}
		return movedBytes{N: 1000}, nil
	}, activity.RegisterOptions{Name: "postgres.Restore"})
	env.RegisterActivityWithOptions(func(context.Context, filed) error { return nil }, activity.RegisterOptions{Name: "records.FileReport"})
	for how, fails := range map[string]bool{"fails": true, "unnamed": true, "cancelled": true, "works": false} {
		_, err := env.ExecuteActivity("postgres.Restore", how)
		require.Equal(t, fails, err != nil, "%v", temporalfault.FromTemporal(err))
	}
	for _, outcome := range []string{"succeeded", "failed"} {
		_, err := env.ExecuteActivity("records.FileReport", filed{outcome})
		require.NoError(t, err)
	}
	env.RegisterActivityWithOptions(func(context.Context) (checked, error) { return checked{}, nil }, activity.RegisterOptions{Name: "postgres.CheckArchive"})
	_, err := env.ExecuteActivity("postgres.CheckArchive")
	require.NoError(t, err)
	text := s.scrape(t)
	for _, line := range []string{
		`lifeboat_wal_segments{component="database/frende",state="late"} 3`,
		`lifeboat_wal_segments{component="database/frende",state="again"} 0`,
		`lifeboat_wal_segments{component="database/frende",state="lost"} 2`,
		`lifeboat_step_duration_seconds_count{ended="done",step="postgres.Restore"} 1`,
		`lifeboat_step_duration_seconds_count{ended="failed",step="postgres.Restore"} 2`,
		`lifeboat_step_duration_seconds_count{ended="cancelled",step="postgres.Restore"} 1`,
		`lifeboat_failures_total{fault="StorageUnavailable",step="postgres.Restore"} 1`,
		`lifeboat_failures_total{fault="unnamed",step="postgres.Restore"} 1`,
		`lifeboat_moved_bytes_total{direction="restore",kind="store"} 1000`,
		`lifeboat_recoveries_total{outcome="succeeded",target="production"} 1`,
		`lifeboat_recoveries_total{outcome="failed",target="production"} 1`,
		`lifeboat_last_recovery_rta_seconds{target="production"} 22`,
		`lifeboat_last_recovery_timestamp_seconds{target="production"} 1.705311682e+09`,
	} {
		require.Contains(t, strings.ReplaceAll(text, `system="frende",`, ""), line+"\n")
	}
}

func TestTheSDKCountsIntoTheSameEndpointInSeconds(t *testing.T) {
	s := newScene(t)
	s.SDK().WithTags(map[string]string{"activity_type": "postgres.Restore"}).Counter("temporal_activity_execution_failed").Inc(2)
	s.SDK().Timer("temporal_activity_execution_latency").Record(40 * time.Second)
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Contains(t, answer.Body.String(), `temporal_activity_execution_failed_total{activity_type="postgres.Restore"} 2`)
	require.Contains(t, answer.Body.String(), `temporal_activity_execution_latency_seconds_bucket{le="60"} 1`)
	require.Contains(t, answer.Body.String(), `temporal_activity_execution_latency_seconds_bucket{le="30"} 0`)
	require.Contains(t, answer.Body.String(), "go_goroutines")
	require.Contains(t, answer.Body.String(), "process_resident_memory_bytes")
}

func TestATakenAddressIsToldAndTriedAgain(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	m, err := metrics.New("frende", zap.New(core))
	require.NoError(t, err)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		m.Serve(ctx, taken.Addr().String())
		close(ended)
	}()
	require.Eventually(t, func() bool { return logged.FilterMessage("metrics are not served").Len() > 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, taken.Close())
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+taken.Addr().String()+"/metrics", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, errors.Join(err, answer.Body.Close()))
		return strings.Contains(string(text), "go_goroutines")
	}, time.Minute, 50*time.Millisecond)
	cancel()
	<-ended
}

// TestMetricsAreDocumented holds docs/METRICS.md, the example rules and what is served together.
func TestMetricsAreDocumented(t *testing.T) {
	s := newScene(t)
	s.Remember(filed{"succeeded"})
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	problems, err := promlint.New(strings.NewReader(answer.Body.String())).Lint()
	require.NoError(t, err)
	for _, problem := range problems {
		require.False(t, strings.HasPrefix(problem.Metric, "lifeboat_"), "%s: %s", problem.Metric, problem.Text)
	}

	source, err := os.ReadFile("metrics.go")
	require.NoError(t, err)
	more, err := os.ReadFile("standing.go")
	require.NoError(t, err)
	name := regexp.MustCompile(`lifeboat_[a-z_]+`)
	served := slices.Compact(slices.Sorted(slices.Values(name.FindAllString(string(source)+string(more), -1))))
	require.Contains(t, served, "lifeboat_rpo_seconds")

	text, err := os.ReadFile("../../docs/METRICS.md")
	require.NoError(t, err)
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(lifeboat_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
	}
	slices.Sort(documented)
	require.Equal(t, served, documented)

	rules, err := os.ReadFile("../../contrib/prometheus/lifeboat.rules.yml")
	require.NoError(t, err)
	var parsed struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(rules, &parsed))
	require.NotEmpty(t, parsed.Groups)
	for _, rule := range parsed.Groups[0].Rules {
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		used := name.FindAllString(rule.Expr, -1)
		require.NotEmpty(t, used, rule.Alert)
		for _, one := range used {
			require.Contains(t, documented, strings.TrimSuffix(strings.TrimSuffix(one, "_count"), "_sum"), rule.Alert)
		}
	}
}
