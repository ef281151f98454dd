package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// mostProblems is how many a verdict spells out.
const mostProblems = 20

// window is when a backup was captured: what was written before From is in it,
// what was written after To is not.
type window struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// point is the recovery point that the system is said to have come back to.
type point struct {
	LSN   lsn    `json:"lsn"`
	Time  window `json:"time,omitzero"` // of the database; zero: only the position was told
	Cache window `json:"cache"`
	Files window `json:"files"`
}

// verdict is the oracle's answer.
type verdict struct {
	Agreed        bool     `json:"agreed"`
	Required      int      `json:"required"` // acknowledged writes of all kinds before the recovery point
	Lost          int      `json:"lost"`     // of these
	Rows          tally    `json:"rows"`
	RowsByTime    *tally   `json:"rows_by_time,omitempty"` // the same rows, judged by the time that the database came back to
	Keys          tally    `json:"keys"`
	Files         tally    `json:"files"`
	Baseline      []string `json:"baseline"`      // what differs of the data that was there before; empty is good
	Configuration []string `json:"configuration"` // what differs of the configuration files; empty is good
	Problems      []string `json:"problems"`      // the first of them
	Point         point    `json:"point"`
}

// tally counts the writes of one kind.
type tally struct {
	Acknowledged int        `json:"acknowledged"`
	Required     int        `json:"required"`   // had to be there
	Straddling   int        `json:"straddling"` // might be there
	Excess       int        `json:"excess"`     // were past the point, and must not be there
	Found        int        `json:"found"`
	InFlight     int        `json:"in_flight"` // found, sent last, never acknowledged
	Lost         int        `json:"lost"`
	Changed      int        `json:"changed"`
	Resurrected  int        `json:"resurrected"` // past the point, and there
	Gaps         int        `json:"gaps"`
	Unknown      int        `json:"unknown"`              // found, and never sent
	FirstLost    *time.Time `json:"first_gone,omitempty"` // acknowledgement of the first write that is gone, wherever the point is
}

func (t tally) clean() bool {
	return t.Lost == 0 && t.Changed == 0 && t.Resurrected == 0 && t.Gaps == 0 && t.Unknown == 0
}

// place says where a write lies to the recovery point.
type place int

const (
	beforePoint place = iota
	straddling
	pastPoint
)

func (w window) place(e entry) place {
	switch {
	case e.Acked.Before(w.From):
		return beforePoint
	case e.Began.After(w.To):
		return pastPoint
	}
	return straddling
}

func (l lsn) place(e entry) place {
	switch {
	case e.After <= l:
		return beforePoint
	case e.Before > l:
		return pastPoint
	}
	return straddling
}

// judge compares what was logged with what was found.
func judge(h header, entries []entry, found survivors, at point) verdict {
	v := verdict{Point: at, Baseline: []string{}, Configuration: []string{}, Problems: []string{}}
	byKind := map[kind][]entry{}
	for _, e := range entries {
		byKind[e.Kind] = append(byKind[e.Kind], e)
	}
	complain := func(format string, args ...any) {
		if len(v.Problems) < mostProblems {
			v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
		}
	}
	// A database and a snapshot of a cache are one moment, so what is left of a
	// stream has no gap. Files are captured one after the other: inside the
	// window a later one may be there and an earlier one not.
	v.Rows = judgeKind(h.Run, row, byKind[row], found.Rows, at.LSN.place, true, complain)
	if !at.Time.From.IsZero() {
		byTime := judgeKind(h.Run, row, byKind[row], found.Rows, at.Time.place, true, complain)
		v.RowsByTime = &byTime
	}
	v.Keys = judgeKind(h.Run, key, byKind[key], found.Keys, at.Cache.place, true, complain)
	v.Files = judgeKind(h.Run, file, byKind[file], found.Files, at.Files.place, false, complain)
	v.Required = v.Rows.Required + v.Keys.Required + v.Files.Required
	v.Lost = v.Rows.Lost + v.Keys.Lost + v.Files.Lost
	for _, part := range []struct {
		name       string
		was, isNow digest
	}{{"rows", h.Baseline.Rows, found.Baseline.Rows}, {"keys", h.Baseline.Keys, found.Baseline.Keys}, {"files", h.Baseline.Files, found.Baseline.Files}} {
		if part.was != part.isNow {
			v.Baseline = append(v.Baseline, fmt.Sprintf("%s: %d with sum %s, now %d with sum %s",
				part.name, part.was.Count, part.was.Sum, part.isNow.Count, part.isNow.Sum))
		}
	}
	v.Configuration = append(v.Configuration, compareConfiguration(h.Configuration, found.Configuration)...)
	v.Agreed = v.Rows.clean() && (v.RowsByTime == nil || v.RowsByTime.clean()) && v.Keys.clean() && v.Files.clean() && len(v.Baseline) == 0 && len(v.Configuration) == 0
	return v
}

func judgeKind(run string, k kind, entries []entry, found []survivor, placeOf func(entry) place, oneMoment bool, complain func(string, ...any)) tally {
	t := tally{Acknowledged: len(entries), Found: len(found)}
	there := map[number][]survivor{}
	for _, s := range found {
		there[s.number] = append(there[s.number], s)
	}
	last := map[int]int{} // of each stream: the highest number that was acknowledged
	for _, e := range entries {
		last[e.Stream] = max(last[e.Stream], e.Seq)
		present := slices.ContainsFunc(there[e.number], func(s survivor) bool { return s.Token == e.Token })
		if !present && (t.FirstLost == nil || e.Acked.Before(*t.FirstLost)) {
			acked := e.Acked
			t.FirstLost = &acked
		}
		switch placeOf(e) {
		case beforePoint:
			t.Required++
			if !present {
				t.Lost++
				complain("%s %d/%d is lost: acknowledged %s, WAL %s to %s", k, e.Stream, e.Seq, e.Acked.Format(time.RFC3339Nano), e.Before, e.After)
			}
		case straddling:
			t.Straddling++
		case pastPoint:
			t.Excess++
			if present {
				t.Resurrected++
				complain("%s %d/%d is there, but is past the recovery point: sent %s, WAL %s", k, e.Stream, e.Seq, e.Began.Format(time.RFC3339Nano), e.Before)
			}
		}
	}
	streams := map[int][]int{}
	for _, n := range slices.SortedFunc(maps.Keys(there), compareNumbers) {
		streams[n.Stream] = append(streams[n.Stream], n.Seq)
		t.judgeContents(run, k, n, there[n], complain)
		switch {
		case n.Seq == last[n.Stream]+1:
			t.InFlight++
		case n.Seq < 1 || n.Seq > last[n.Stream]:
			t.Unknown++
			complain("%s %d/%d is there, but was never sent", k, n.Stream, n.Seq)
		}
	}
	if oneMoment {
		for _, stream := range slices.Sorted(maps.Keys(streams)) {
			t.judgeGaps(k, stream, streams[stream], complain)
		}
	}
	return t
}

// judgeContents compares every copy of one number with what it has to be. A
// session that was asked for twice may be there twice; a row or a file may not.
func (t *tally) judgeContents(run string, k kind, n number, copies []survivor, complain func(string, ...any)) {
	wanted := fingerprint(content(run, k, n))
	for _, s := range copies {
		if s.Fingerprint != wanted {
			t.Changed++
			complain("%s %d/%d has other contents: %s", k, n.Stream, n.Seq, s.Fingerprint)
		}
	}
	if k != key && len(copies) > 1 {
		t.Unknown++
		complain("%s %d/%d is there %d times", k, n.Stream, n.Seq, len(copies))
	}
}

// judgeGaps expects the sorted numbers to be 1, 2, 3, …
func (t *tally) judgeGaps(k kind, stream int, seqs []int, complain func(string, ...any)) {
	expected := 1
	for _, seq := range seqs {
		if seq > expected {
			t.Gaps++
			complain("%s %d/%d to %d are missing, but %d is there", k, stream, expected, seq-1, seq)
		}
		expected = max(expected, seq+1)
	}
}

func compareNumbers(a, b number) int {
	return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Seq, b.Seq))
}

func compareConfiguration(was, isNow []configFile) []string {
	now := map[string]configFile{}
	for _, f := range isNow {
		now[f.Path] = f
	}
	var differences []string
	for _, f := range was {
		found, ok := now[f.Path]
		delete(now, f.Path)
		switch {
		case !ok:
			differences = append(differences, f.Path+" is missing")
		case found.Fingerprint != f.Fingerprint:
			differences = append(differences, f.Path+" has other contents")
		case found.Mode != f.Mode:
			differences = append(differences, fmt.Sprintf("%s has mode %s instead of %s", f.Path, found.Mode, f.Mode))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(now)) {
		differences = append(differences, path+" was not there before")
	}
	return differences
}
