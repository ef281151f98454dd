package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	testRun     = "testrun"
	testStreams = 2
	testSeqs    = 20 // of each stream and kind
)

var testStart = time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC)

// history is what an oracle logged: the n-th write of each stream began at n
// seconds and 100·n bytes of WAL, and was acknowledged half a step later.
func history() (header, []entry) {
	h := header{
		Run: testRun, Match: 7, Author: 8,
		Baseline:      baseline{Rows: digest{3, "a"}, Keys: digest{2, "b"}, Files: digest{1, "c"}},
		Configuration: []configFile{{"app.yaml", 0o600, "x"}, {"look.yaml", 0o644, "y"}},
	}
	var entries []entry
	for _, k := range []kind{row, key, file} {
		for stream := 1; stream <= testStreams; stream++ {
			for seq := 1; seq <= testSeqs; seq++ {
				e := entry{
					Kind: k, number: number{stream, seq},
					Began: moment(seq), Acked: moment(seq).Add(500 * time.Millisecond),
					Before: lsn(100 * seq), After: lsn(100*seq + 50),
				}
				if k == key {
					e.Token = rowKey("token", e.number)
				}
				entries = append(entries, e)
			}
		}
	}
	return h, entries
}

func moment(seq int) time.Time { return testStart.Add(time.Duration(seq) * time.Second) }

// recoveredTo gives a system that came back to the end of write number seq,
// with nothing wrong.
func recoveredTo(h header, entries []entry, seq int) (survivors, point) {
	found := survivors{Baseline: h.Baseline, Configuration: slices.Clone(h.Configuration)}
	for _, e := range entries {
		if e.Seq > seq {
			continue
		}
		s := survivor{number: e.number, Token: e.Token, Fingerprint: fingerprint(content(h.Run, e.Kind, e.number))}
		switch e.Kind {
		case row:
			found.Rows = append(found.Rows, s)
		case key:
			found.Keys = append(found.Keys, s)
		case file:
			found.Files = append(found.Files, s)
		}
	}
	captured := window{From: moment(seq).Add(600 * time.Millisecond), To: moment(seq).Add(700 * time.Millisecond)}
	return found, point{LSN: lsn(100*seq + 60), Cache: captured, Files: captured}
}

func TestJudgeAgreesWithAnExactRecovery(t *testing.T) {
	h, entries := history()
	for seq := range testSeqs + 1 {
		found, at := recoveredTo(h, entries, seq)
		v := judge(h, entries, found, at)
		require.True(t, v.Agreed, "%v", v.Problems)
		require.Empty(t, v.Problems)
		require.Equal(t, 3*testStreams*seq, v.Required)
		require.Zero(t, v.Lost)
		require.Equal(t, testStreams*(testSeqs-seq), v.Rows.Excess)
		if seq < testSeqs {
			require.Equal(t, moment(seq+1).Add(500*time.Millisecond), *v.Rows.FirstLost)
		}
	}
}

func TestJudgeCatchesEachKindOfHarm(t *testing.T) {
	const to = 10
	drop := func(list []survivor, n number) []survivor {
		return slices.DeleteFunc(list, func(s survivor) bool { return s.number == n })
	}
	change := func(list []survivor, n number) {
		altered := content(testRun, row, n)
		altered[len(altered)-1] ^= 1
		for i := range list {
			if list[i].number == n {
				list[i].Fingerprint = fingerprint(altered)
			}
		}
	}
	extra := func(k kind, n number) survivor {
		s := survivor{number: n, Fingerprint: fingerprint(content(testRun, k, n))}
		if k == key {
			s.Token = rowKey("token", n)
		}
		return s
	}
	for name, harm := range map[string]struct {
		do      func(*survivors)
		problem string
		tell    func(verdict) int // the count that has to be 1
	}{
		"one lost row at the end":       {func(s *survivors) { s.Rows = drop(s.Rows, number{1, to}) }, "row 1/10 is lost", func(v verdict) int { return v.Rows.Lost }},
		"one lost row at the start":     {func(s *survivors) { s.Rows = drop(s.Rows, number{2, 1}) }, "row 2/1 is lost", func(v verdict) int { return v.Rows.Lost }},
		"a gap in the rows":             {func(s *survivors) { s.Rows = drop(s.Rows, number{1, 5}) }, "row 1/5 to 5 are missing", func(v verdict) int { return v.Rows.Gaps }},
		"one changed bit of a row":      {func(s *survivors) { change(s.Rows, number{1, 3}) }, "row 1/3 has other contents", func(v verdict) int { return v.Rows.Changed }},
		"a later row":                   {func(s *survivors) { s.Rows = append(s.Rows, extra(row, number{1, to + 1})) }, "row 1/11 is there, but is past", func(v verdict) int { return v.Rows.Resurrected }},
		"a much later row":              {func(s *survivors) { s.Rows = append(s.Rows, extra(row, number{2, testSeqs})) }, "row 2/20 is there, but is past", func(v verdict) int { return v.Rows.Resurrected }},
		"a row twice":                   {func(s *survivors) { s.Rows = append(s.Rows, s.Rows[0]) }, "row 1/1 is there 2 times", func(v verdict) int { return v.Rows.Unknown }},
		"a row that was never sent":     {func(s *survivors) { s.Rows = append(s.Rows, extra(row, number{1, testSeqs + 2})) }, "row 1/22 is there, but was never sent", func(v verdict) int { return v.Rows.Unknown }},
		"a row of an unknown stream":    {func(s *survivors) { s.Rows = append(s.Rows, extra(row, number{9, 2})) }, "row 9/2 is there, but was never sent", func(v verdict) int { return v.Rows.Unknown }},
		"a missing key":                 {func(s *survivors) { s.Keys = drop(s.Keys, number{2, to}) }, "key 2/10 is lost", func(v verdict) int { return v.Keys.Lost }},
		"a key under another token":     {func(s *survivors) { s.Keys[0].Token = "other" }, "key 1/1 is lost", func(v verdict) int { return v.Keys.Lost }},
		"a changed key":                 {func(s *survivors) { s.Keys[0].Fingerprint = "never expires" }, "never expires", func(v verdict) int { return v.Keys.Changed }},
		"a later key":                   {func(s *survivors) { s.Keys = append(s.Keys, extra(key, number{1, to + 1})) }, "key 1/11 is there, but is past", func(v verdict) int { return v.Keys.Resurrected }},
		"a missing file":                {func(s *survivors) { s.Files = drop(s.Files, number{1, 4}) }, "file 1/4 is lost", func(v verdict) int { return v.Files.Lost }},
		"a changed file":                {func(s *survivors) { change(s.Files, number{1, 4}) }, "file 1/4 has other contents", func(v verdict) int { return v.Files.Changed }},
		"a later file":                  {func(s *survivors) { s.Files = append(s.Files, extra(file, number{1, to + 1})) }, "file 1/11 is there, but is past", func(v verdict) int { return v.Files.Resurrected }},
		"other rows that were loaded":   {func(s *survivors) { s.Baseline.Rows.Sum = "z" }, "", func(v verdict) int { return len(v.Baseline) }},
		"a key less of those loaded":    {func(s *survivors) { s.Baseline.Keys.Count-- }, "", func(v verdict) int { return len(v.Baseline) }},
		"a missing configuration file":  {func(s *survivors) { s.Configuration = s.Configuration[1:] }, "", func(v verdict) int { return len(v.Configuration) }},
		"a changed configuration file":  {func(s *survivors) { s.Configuration[0].Fingerprint = "z" }, "", func(v verdict) int { return len(v.Configuration) }},
		"a configuration file's mode":   {func(s *survivors) { s.Configuration[0].Mode = 0o644 }, "", func(v verdict) int { return len(v.Configuration) }},
		"one configuration file more":   {func(s *survivors) { s.Configuration = append(s.Configuration, configFile{Path: "z"}) }, "", func(v verdict) int { return len(v.Configuration) }},
		"everything of a stream's rows": {func(s *survivors) { s.Rows = slices.DeleteFunc(s.Rows, func(s survivor) bool { return s.Stream == 1 }) }, "row 1/1 is lost", func(v verdict) int { return v.Rows.Lost / to }},
	} {
		t.Run(name, func(t *testing.T) {
			h, entries := history()
			found, at := recoveredTo(h, entries, to)
			harm.do(&found)
			v := judge(h, entries, found, at)
			require.False(t, v.Agreed)
			require.Equal(t, 1, harm.tell(v), "%+v", v)
			if harm.problem != "" {
				require.Condition(t, func() bool { return containsText(v.Problems, harm.problem) }, "%v", v.Problems)
			}
		})
	}
}

func TestJudgeCountsStraddlersApart(t *testing.T) {
	h, entries := history()
	for _, present := range []int{10, 11} {
		found, at := recoveredTo(h, entries, present)
		at.LSN = 1120                                       // inside write 11: 1100 to 1150
		at.Cache.To = moment(11).Add(time.Second / 4)       // write 11 began before the capture ended
		at.Cache.From = moment(10).Add(time.Second * 3 / 4) // and was not acknowledged when it started
		at.Files = at.Cache
		v := judge(h, entries, found, at)
		require.True(t, v.Agreed, "%v", v.Problems)
		require.Equal(t, testStreams, v.Rows.Straddling)
		require.Equal(t, testStreams, v.Keys.Straddling)
		require.Equal(t, testStreams, v.Files.Straddling)
		require.Equal(t, 10*testStreams, v.Rows.Required)
	}
}

func TestJudgeHoldsTheExactPositionForRequired(t *testing.T) {
	h, entries := history()
	found, at := recoveredTo(h, entries, 9)
	at.LSN = 1050 // exactly the "after" of write 10
	v := judge(h, entries, found, at)
	require.False(t, v.Agreed)
	require.Equal(t, testStreams, v.Rows.Lost)
	at.LSN = 1049
	require.True(t, judge(h, entries, found, at).Agreed)
}

func TestJudgeLetsFilesOfTheWindowBeThereInAnyOrder(t *testing.T) {
	h, entries := history()
	found, at := recoveredTo(h, entries, 12)
	at.Files = window{From: moment(10).Add(-time.Millisecond), To: moment(13)}
	found.Files = slices.DeleteFunc(found.Files, func(s survivor) bool { return s.Seq == 10 })
	v := judge(h, entries, found, at)
	require.True(t, v.Agreed, "%v", v.Problems)
	require.Equal(t, 4*testStreams, v.Files.Straddling)
}

func TestJudgeTakesTheLastUnacknowledgedWriteForInFlight(t *testing.T) {
	h, entries := history()
	found, at := recoveredTo(h, entries, testSeqs)
	sent := number{1, testSeqs + 1}
	found.Rows = append(found.Rows, survivor{number: sent, Fingerprint: fingerprint(content(testRun, row, sent))})
	v := judge(h, entries, found, at)
	require.True(t, v.Agreed, "%v", v.Problems)
	require.Equal(t, 1, v.Rows.InFlight)
	found.Rows[len(found.Rows)-1].Fingerprint = "z"
	require.False(t, judge(h, entries, found, at).Agreed)
}

func TestJudgeAcceptsASessionThatWasAskedForTwice(t *testing.T) {
	h, entries := history()
	found, at := recoveredTo(h, entries, testSeqs)
	again := found.Keys[3]
	again.Token = "unacknowledged"
	found.Keys = append(found.Keys, again)
	require.True(t, judge(h, entries, found, at).Agreed)
}

func TestJudgeSpellsOutTheFirstProblemsOnly(t *testing.T) {
	h, entries := history()
	_, at := recoveredTo(h, entries, testSeqs)
	v := judge(h, entries, survivors{}, at)
	require.False(t, v.Agreed)
	require.Len(t, v.Problems, mostProblems)
	require.Equal(t, v.Required, v.Lost)
	require.Equal(t, 3*testStreams*testSeqs, v.Lost)
}

func containsText(problems []string, text string) bool {
	return slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, text) })
}

func TestATimeIsJudgedBesideThePosition(t *testing.T) {
	h, entries := history()
	const seq = 5
	found, at := recoveredTo(h, entries, seq)
	between := moment(seq).Add(600 * time.Millisecond) // all of seq is acknowledged, nothing of the next was sent
	at.Time = window{From: between, To: between}
	v := judge(h, entries, found, at)
	require.True(t, v.Agreed, "%v", v.Problems)
	require.Equal(t, testStreams*seq, v.RowsByTime.Required)
	require.Zero(t, v.RowsByTime.Straddling)

	earlier := moment(seq).Add(-100 * time.Millisecond)
	at.Time = window{From: earlier, To: earlier}
	v = judge(h, entries, found, at)
	require.False(t, v.Agreed, "the position is that of a later time")
	require.Equal(t, testStreams, v.RowsByTime.Resurrected)
	require.Zero(t, v.Rows.Resurrected)

	later := moment(seq + 1).Add(600 * time.Millisecond)
	at.Time = window{From: later, To: later}
	v = judge(h, entries, found, at)
	require.False(t, v.Agreed, "the position is that of an earlier time")
	require.Equal(t, testStreams, v.RowsByTime.Lost)
}
