package extract_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/activities/postgres"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/fault/temporalfault"
	"github.com/frende/lifeboat/workflows/api"
)

// copyStage is a stage on which an older copy becomes what is said when the new one does not come.
func copyStage(t *testing.T, older string) *stage {
	t.Helper()
	s := newStage(t)
	step(s, "postgres.CheckCopy", func(in postgres.CheckCopyInput) any { require.True(t, in.Delta); return nil })
	step(s, "postgres.Restore", func(postgres.RestoreInput) any { return postgres.RestoreResult{Bytes: 100, Kept: 90, Taken: 80} })
	step(s, "postgres.PutCopy", func(in postgres.PutCopyInput) any {
		return postgres.PutCopyResult{Dir: in.Dir, Timeline: 2, Start: "pg_ctl start"}
	})
	step(s, "postgres.DiscardScratch", func(in postgres.DiscardScratchInput) any {
		require.Equal(t, "/var/tmp/copy", in.Dir)
		return postgres.DiscardResult{Removed: true, Older: older}
	})
	return s
}

func (s *stage) copy(t *testing.T) (result api.CopyResult, err error) {
	t.Helper()
	s.ExecuteWorkflow(api.CopyDatabase, api.CopyInput{Dir: "/var/tmp/copy", Delta: true})
	require.True(t, s.IsWorkflowCompleted())
	if err := s.GetWorkflowError(); err != nil {
		return result, temporalfault.FromTemporal(err)
	}
	require.NoError(t, s.GetWorkflowResult(&result))
	return result, nil
}

func TestACopyOverAnOlderOneSaysWhatItHad(t *testing.T) {
	s := copyStage(t, postgres.OlderWhole) // what is there by then is the new one
	result, err := s.copy(t)
	require.NoError(t, err)
	require.Equal(t, []int64{90, 80}, []int64{result.Kept, result.Taken})
	require.Empty(t, s.filed[0].Failures)
}

func TestACopyThatDoesNotComeSaysWhatBecameOfTheOlderOne(t *testing.T) {
	for older, told := range map[string]string{
		postgres.OlderWhole: "the older copy at /var/tmp/copy is as it was",
		postgres.OlderBack:  "the older copy is back at /var/tmp/copy",
		postgres.OlderSpent: "the older copy at /var/tmp/copy is spent",
		"":                  "",
	} {
		s := copyStage(t, older)
		s.fails["postgres.PutCopy"] = fault.Newf(fault.NameUnknown, "put copy of", "frende", "on purpose").WithHint("mend it")
		_, err := s.copy(t)
		require.True(t, fault.Has(err, fault.NameUnknown), "%v", err)
		require.Contains(t, fault.HintOf(err), "mend it")
		require.Contains(t, fault.HintOf(err), told)
		require.Equal(t, fault.HintOf(err), s.filed[0].Failures[0].Hint)
		require.Equal(t, told != "", len(s.filed[0].Notes) == 1)
	}
}
