package checks_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/frende/lifeboat/activities/checks"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

func asked(name string, within time.Duration, argv ...string) system.Check {
	return system.Check{Name: name, Kind: system.CheckCommand, Command: argv, Within: system.Duration(within)}
}

func health(t *testing.T, all ...system.Check) (checks.HealthResult, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	a := checks.New(checks.Deps{})
	env.RegisterActivity(a)
	var result checks.HealthResult
	value, err := env.ExecuteActivity(a.Health, checks.HealthInput{Checks: all})
	if err == nil {
		err = value.Get(&result)
	}
	return result, err
}

func TestHealthGivesAResultForEachCheckInOrder(t *testing.T) {
	dir := t.TempDir()
	result, err := health(t,
		asked("late", 10*time.Second, "/bin/sh", "-c", "test -f "+dir+"/up || { touch "+dir+"/up; exit 1; }"),
		asked("early", 0, "true"),
	)
	require.NoError(t, err)
	require.Len(t, result.Results, 2)
	require.Equal(t, "late", result.Results[0].Name)
	require.Equal(t, 2, result.Results[0].Tries)
	require.Equal(t, "early", result.Results[1].Name)
	require.True(t, result.Results[1].OK)
	none, err := health(t)
	require.NoError(t, err)
	require.Empty(t, none.Results)
}

func TestHealthNamesEveryCheckThatStaysFalse(t *testing.T) {
	_, err := health(t, asked("frontend", 0, "false"), asked("backend", 0, "true"), asked("sessions", 0, "/bin/sh", "-c", "exit 4"))
	require.ErrorContains(t, err, "check frontend, sessions: check failed: frontend: false: exit status 1; sessions: sh: exit status 4")
}

func TestACheckThatCanNotBeAskedGoesBeforeOneThatIsFalse(t *testing.T) {
	_, err := health(t, asked("frontend", 0, "false"), system.Check{Name: "rows", Kind: system.CheckSQL, Database: "unknown"})
	require.ErrorContains(t, err, `database "unknown" is not configured`)
	require.NotContains(t, err.Error(), fault.CheckFailed.Definition().Summary)
}
