package system_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/system"
)

// firsts finds the first of a weekday in months the plain way, day by day.
func firsts(from, to int, weekday time.Weekday, months ...time.Month) []time.Time {
	var all []time.Time
	for year := from; year <= to; year++ {
		for _, month := range months {
			at := time.Date(year, month, 1, 6, 0, 0, 0, time.UTC)
			for at.Weekday() != weekday {
				at = at.AddDate(0, 0, 1)
			}
			all = append(all, at)
		}
	}
	return all
}

func starts(s system.Schedule, after time.Time, count int) []time.Time {
	var all []time.Time
	for range count {
		after = s.Next(after)
		all = append(all, after)
	}
	return all
}

func TestFirstSaturdayOfAQuarterIsTheCalendars(t *testing.T) {
	quarterly := system.Schedule{When: "first saturday of quarter at 06:00"}
	want := firsts(2024, 2043, time.Saturday, time.January, time.April, time.July, time.October)
	require.Equal(t, want, starts(quarterly, time.Date(2023, 12, 31, 23, 59, 0, 0, time.UTC), len(want)))
	require.Equal(t, "06:00 UTC on the first saturday of january, april, july, october", quarterly.Starts())

	yearly := system.Schedule{When: "First Monday of Year at 06:00"}
	want = firsts(2024, 2043, time.Monday, time.January)
	require.Equal(t, want, starts(yearly, time.Date(2023, 12, 31, 0, 0, 0, 0, time.UTC), len(want)))
	monthly := system.Schedule{When: "third sunday of month at 23:59"}
	require.Equal(t, time.Date(2024, 2, 18, 23, 59, 0, 0, time.UTC), monthly.Next(time.Date(2024, 1, 21, 23, 59, 0, 0, time.UTC)))
	require.Equal(t, "23:59 UTC on the third sunday of the month", monthly.Starts())
}

func TestNextStartOfCronAndEvery(t *testing.T) {
	at := time.Date(2024, 2, 28, 2, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		schedule system.Schedule
		next     string
		says     string
	}{
		{system.Schedule{Cron: "0 2 * * *"}, "2024-02-29T02:00:00Z", "02:00 UTC every day"},
		{system.Schedule{Cron: "30 1,13 * * 1-5"}, "2024-02-28T13:30:00Z", "01:30, 13:30 UTC every monday to friday"},
		{system.Schedule{Cron: "0 4 * * sun"}, "2024-03-03T04:00:00Z", "04:00 UTC every sunday"},
		{system.Schedule{Cron: "0 4 * * 7"}, "2024-03-03T04:00:00Z", "04:00 UTC every sunday"},
		{system.Schedule{Cron: "0 4 29 2 *"}, "2024-02-29T04:00:00Z", "04:00 UTC on each day 29 of february"},
		{system.Schedule{Cron: "*/15 * * * *"}, "2024-02-28T02:15:00Z", "minute 0, 15, 30, 45 of every hour UTC every day"},
		{system.Schedule{Cron: "5 8-10,22 * mar *"}, "2024-03-01T08:05:00Z", "08:05, 09:05, 10:05, 22:05 UTC every day of march"},
		{system.Schedule{Every: system.Duration(15 * time.Minute)}, "2024-02-28T02:15:00Z", "every 15m"},
		{system.Schedule{Every: system.Duration(7 * time.Hour)}, "2024-02-28T03:00:00Z", "every 7h"},
	} {
		require.Equal(t, c.next, c.schedule.Next(at).Format(time.RFC3339), c.says)
		require.Equal(t, c.says, c.schedule.Starts())
	}
	require.Equal(t, "04:00 UTC on each day 2-8 of june to august that is a monday, friday",
		system.Calendar{Minutes: []int{0}, Hours: []int{4}, Days: []int{2, 3, 4, 5, 6, 7, 8}, Months: []int{6, 7, 8}, Weekdays: []int{1, 5}}.String())
	require.Equal(t, "2032-02-29T04:00:00Z", system.Schedule{Cron: "0 4 29 2 *"}.Next(time.Date(2028, 2, 29, 4, 0, 0, 0, time.UTC)).Format(time.RFC3339))
}

func TestLastDueStartIsTheOneThatNothingMakesUpForAnyMore(t *testing.T) {
	at := time.Date(2024, 2, 28, 2, 0, 0, 0, time.UTC) // a Wednesday
	for _, c := range []struct {
		schedule system.Schedule
		due      string
	}{
		{system.Schedule{Cron: "0 2 * * *"}, "2024-02-28T02:00:00Z"},
		{system.Schedule{Cron: "0 2 * * *", Catchup: system.Duration(time.Second)}, "2024-02-27T02:00:00Z"},
		{system.Schedule{Cron: "30 10 * * sun"}, "2024-02-25T10:30:00Z"},
		{system.Schedule{Cron: "5 8-10,22 * mar *"}, "2023-03-31T22:05:00Z"},
		{system.Schedule{When: "first saturday of quarter at 06:00"}, "2024-01-06T06:00:00Z"},
		{system.Schedule{Every: system.Duration(time.Hour), Catchup: system.Duration(90 * time.Minute)}, "2024-02-28T00:00:00Z"},
	} {
		require.Equal(t, c.due, c.schedule.Due(at).Format(time.RFC3339), c.schedule.Starts())
	}
	require.Zero(t, system.Schedule{Cron: "0 2 30 2 *"}.Due(at))
	require.Zero(t, system.Schedule{}.Due(at))
}

func TestSchedulesAreDefaultedByTheirWorkflow(t *testing.T) {
	s, err := system.Load(example, environment("BACKUP_ENCRYPTION_KEY", "k", "FRENDE_DATABASE_URL", "d"))
	require.NoError(t, err)
	byName := map[string]system.Schedule{}
	for _, one := range s.Schedules {
		byName[one.Name] = one
	}
	hours := func(n int) system.Duration { return system.Duration(time.Duration(n) * time.Hour) }
	require.Equal(t, hours(72), byName["drill"].Catchup)
	require.Equal(t, hours(6), byName["database-daily"].Catchup)
	require.Equal(t, hours(24), byName["database-daily"].Timeout)
	require.Equal(t, hours(1), byName["cache"].Catchup)
	require.Equal(t, hours(6), byName["cache"].Timeout)
	require.True(t, byName["cache"].IfChanged)
	for name, one := range byName {
		require.Positive(t, one.Timeout, name)
		require.NotZero(t, one.Next(time.Now()), name)
	}
}
