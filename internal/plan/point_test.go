package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/plan"
)

func TestEveryFormOfAPointIsRead(t *testing.T) {
	at := time.Date(2024, 1, 15, 9, 42, 0, 0, time.UTC)
	for text, want := range map[string]plan.Point{
		"":                          {},
		"latest":                    {},
		"2024-01-15T09:42:00Z":      {Time: at},
		"2024-01-15T10:42:00+01:00": {Time: at},
		"2024-01-15T09:42:00.5Z":    {Time: at.Add(time.Second / 2)},
		"lsn:0/3000148":             {LSN: "0/3000148"},
		"lsn:1a/ff":                 {LSN: "1A/FF"},
		"name:before-migration":     {Name: "before-migration"},
		"backup:" + uploads + "/":   {Backup: uploads},
	} {
		found, err := plan.ParsePoint(text)
		require.NoError(t, err, text)
		require.Equal(t, want, found)
		again, err := plan.ParsePoint(found.String())
		require.NoError(t, err, text)
		require.Equal(t, found, again, "it is written as it is read")
	}
}

func TestNothingElseIsATime(t *testing.T) {
	for text, says := range map[string]string{
		"2024-01-15T09:42:00":       "the time has no offset",
		"2024-01-15 09:42":          "the time has no offset",
		"2024-01-15":                "a date alone is no moment",
		"15.01.2024 09:42":          "not written as RFC 3339",
		"09:42":                     "not written as RFC 3339",
		"2024-01-15 09:42:00Z":      "not written as RFC 3339",
		"2024-01-15T09:42:00+0100":  "not written as RFC 3339",
		"2024-01-15T09:42:00,5Z":    "not written as RFC 3339",
		"2024-01-15T9:42:00Z":       "not written as RFC 3339",
		"2024-13-15T09:42:00Z":      "no such date",
		"yesterday":                 "neither latest, nor a time",
		"lsn:":                      "no position in the WAL",
		"lsn:0/0":                   "no position in the WAL",
		"lsn:0/123456789":           "no position in the WAL",
		"name:":                     "1 to 63 letters",
		"name:a b":                  "1 to 63 letters",
		"backup:":                   "neither latest",
		"2024-01-15T09:42:00Z\nabc": "not written as RFC 3339",
	} {
		_, err := plan.ParsePoint(text)
		require.True(t, fault.Has(err, fault.InputInvalid), "%s: %v", text, err)
		require.ErrorContains(t, err, says, text)
		require.NotEmpty(t, fault.HintOf(err), text)
	}
}

func TestATimeHoldsForEveryComponentAndAPositionForOneDatabase(t *testing.T) {
	p, err := plan.Recovery(frende(t), plan.Options{To: "2024-01-15T09:42:00Z", Backups: []string{uploads}})
	require.NoError(t, err)
	require.Equal(t, "2024-01-15T09:42:00Z, backup:"+uploads, p.To)
	require.Contains(t, step(t, p, "database/frende/restore").Title, "from the newest backup that ended before 2024-01-15T09:42:00Z")
	require.Contains(t, step(t, p, "cache/sessions/restore").Title, "from the newest backup whose state is not newer than 2024-01-15T09:42:00Z")
	require.Contains(t, step(t, p, "files/uploads/restore").Title, "from "+uploads)
	require.Contains(t, step(t, p, "database/frende/replay").Title, "to 2024-01-15T09:42:00Z, and stop there")

	for _, to := range []string{"lsn:0/3000148", "name:before-migration"} {
		_, err = plan.Recovery(frende(t), plan.Options{To: to})
		require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
		p, err = plan.Recovery(frende(t), plan.Options{To: to, Components: []string{"database/frende"}})
		require.NoError(t, err)
		require.Equal(t, to, p.To)
		require.Equal(t, to, p.Point.For(p.Components[0]).String())
	}
	two := frende(t)
	two.Databases = append(two.Databases, two.Databases[0])
	two.Databases[1].Name = "orders"
	_, err = plan.Recovery(two, plan.Options{To: "lsn:0/3000148", Components: []string{"database/frende", "database/orders"}})
	require.True(t, fault.Has(err, fault.InputInvalid), "%v", err)
	require.ErrorContains(t, err, "it is of one database, and 2 are to be recovered")
}
