package records_test

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/mocks"

	"github.com/frende/lifeboat/activities/records"
	"github.com/frende/lifeboat/internal/temporal"
)

// past is a history of activities: each was scheduled, and ended after so many attempts.
func past(t *testing.T, of ...*history.HistoryEvent) *mocks.HistoryEventIterator {
	events := mocks.NewHistoryEventIterator(t)
	for _, event := range of {
		events.On("HasNext").Return(true).Once()
		events.On("Next").Return(event, nil).Once()
	}
	events.On("HasNext").Return(false).Once()
	return events
}

func scheduled(number int64, activity string) *history.HistoryEvent {
	return &history.HistoryEvent{EventId: number, Attributes: &history.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &history.ActivityTaskScheduledEventAttributes{ActivityId: activity},
	}}
}

func started(by int64, attempt int32, last string) *history.HistoryEvent {
	attributes := &history.ActivityTaskStartedEventAttributes{ScheduledEventId: by, Attempt: attempt}
	if last != "" {
		attributes.LastFailure = &failure.Failure{Message: last}
	}
	return &history.HistoryEvent{Attributes: &history.HistoryEvent_ActivityTaskStartedEventAttributes{ActivityTaskStartedEventAttributes: attributes}}
}

func ended(by int64, why string) *history.HistoryEvent {
	return &history.HistoryEvent{Attributes: &history.HistoryEvent_ActivityTaskFailedEventAttributes{
		ActivityTaskFailedEventAttributes: &history.ActivityTaskFailedEventAttributes{ScheduledEventId: by, Failure: &failure.Failure{Message: why}},
	}}
}

func TestAttemptsAreThoseOfEveryTimeAStepWasBegun(t *testing.T) {
	c := mocks.NewClient(t)
	all := enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT
	c.On("GetWorkflowHistory", mock.Anything, "recover/frende", "1", false, all).Return(past(t,
		scheduled(5, "configuration"), started(5, 1, ""),
		scheduled(7, "restore"), started(7, 3, "get object: storage does not answer\nHINT: wait"),
		scheduled(9, "cut-over"), started(9, 1, ""), ended(9, "put object: denied\nHINT: grant it"),
		scheduled(12, "cut-over"), started(12, 2, ""),
	))
	c.On("GetWorkflowHistory", mock.Anything, "child", "", false, all).Return(past(t,
		scheduled(5, "configuration"), started(5, 4, "later"), scheduled(6, "verify"), started(6, 2, "again"),
	))
	inTheClear, err := temporal.NewPayloads(nil)
	require.NoError(t, err)
	found, err := records.AttemptsFrom(c, inTheClear.Message)(t.Context(), []records.Execution{{ID: "recover/frende", RunID: "1"}, {ID: "child"}})
	require.NoError(t, err)
	require.Equal(t, map[records.StepID]records.Attempts{
		"configuration": {Count: 1},
		"restore":       {Count: 3, LastFailure: "get object: storage does not answer"},
		"cut-over":      {Count: 3, LastFailure: "put object: denied"},
		"verify":        {Count: 2, LastFailure: "again"},
	}, found)
}
