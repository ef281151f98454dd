package report_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

func page(t *testing.T, r *report.Run) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.HTML(&b, r, at(100)))
	return b.String()
}

func TestHTMLReportNeedsNothingElse(t *testing.T) {
	for _, run := range []*report.Run{recovered(), breached(), failed(), backedUp(), {}} {
		html := page(t, run)
		require.NotRegexp(t, `(?i)<script|<link|<img|<iframe|@import|@font-face|https?:|\bon\w+=`, html)
		for _, reference := range regexp.MustCompile(`(?:href="|url\()([^")]*)`).FindAllStringSubmatch(html, -1) {
			require.Regexp(t, "^#", reference[1])
			require.Contains(t, html, `id="`+reference[1][1:]+`"`)
		}
		require.NotContains(t, html, "NaN")
		require.NotContains(t, html, "0001-01-01")
		require.NotContains(t, html, "ZgotmplZ")
	}
}

func TestHTMLReportCanNotBeInjectedInto(t *testing.T) {
	const hostile = "</style></title></svg><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' {{.}} \u202egnp.exe \x1b[2J\x00"
	r := breached()
	r.System, r.ID, r.RunID, r.Kind, r.Target, r.By, r.Phase = hostile, hostile, hostile, "Recover"+hostile, hostile, hostile, hostile
	r.Failures = []report.Failure{{Step: hostile, Kind: hostile, Message: hostile, Hint: hostile}}
	for i := range r.Steps {
		s := &r.Steps[i]
		s.ID, s.Title, s.Component, s.Detail, s.Phase, s.Outcome, s.Retried = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	}
	for i := range r.Clocks {
		r.Clocks[i].Name = hostile
	}
	for i := range r.Points {
		p := &r.Points[i]
		p.Component, p.Kind, p.Backup, p.LSN, p.Proof = hostile, hostile, hostile, hostile, hostile
	}
	r.Backups = []report.Backup{{Component: hostile, Key: hostile, Proof: hostile, Note: hostile}}
	r.Approvals = []report.Approval{{Decision: hostile, Step: hostile, By: hostile}}
	r.Checks = []report.Check{{Name: hostile, Message: hostile}}
	r.Fallbacks = []report.Fallback{{Object: hostile, Reason: hostile, From: hostile, To: hostile}}
	html := page(t, r)
	plain := page(t, breached())
	require.NotContains(t, html, "<script")
	require.NotContains(t, html, "<img")
	require.Equal(t, strings.Count(plain, "<style"), strings.Count(html, "<style"))
	require.Equal(t, 1, strings.Count(html, "</style"))
	require.NotContains(t, html, "\u202e", "nothing turns the direction of writing")
	require.NotContains(t, html, "\x1b")
	require.NotContains(t, html, "\x00")
	for _, tag := range regexp.MustCompile(`<[a-z][^>]*>`).FindAllString(html, -1) {
		require.NotContains(t, tag, "onload", "a value is never an attribute")
	}
}

func TestTheAnswerComesFirst(t *testing.T) {
	for _, c := range []struct {
		run  *report.Run
		want []string
	}{
		{recovered(), []string{"<h1>frende recovered in 41.2 s of 1 h</h1>", "Lost at most: database 22 s, cache 15 min, files 30 min, configuration 30 min.", "objectives met"}},
		{breached(), []string{"<h1>frende recovered in 1 h 1 min 30 s, 1 min 30 s over its objective of 1 h</h1>", "cache 1 h 30 min (over its objective of 1 h)", "database/frende by 46 min 25 s", "objective missed"}},
		{failed(), []string{"<h1>frende NOT recovered: failed after 13.6 s</h1>", "no store holds a good copy"}},
		{aborted(), []string{"<h1>frende not recovered: aborted after 1 min 35 s</h1>", "it came back by itself"}},
		{running(), []string{"<h1>recovery of frende running: 1 min 40 s so far of 1 h</h1>"}},
		{backedUp(), []string{"<h1>frende backed up in 31.4 s</h1>", "Made 2 backups of 1.9 GiB, stored as 632.3 MiB."}},
	} {
		html := page(t, c.run)
		for _, want := range c.want {
			require.Contains(t, html, want)
		}
	}
}

func TestTimelineShowsWhatDecidedAndWhatWentWrong(t *testing.T) {
	html := page(t, breached())
	require.Contains(t, html, ">critical 30 min</text>")
	require.Contains(t, html, ">whole 1 h</text>")
	require.Contains(t, html, ">objective 15 min</text>")
	require.Contains(t, html, ">3 attempts</text>")
	require.Contains(t, html, "attempt 3, the one before: StorageUnavailable: get object")
	require.Contains(t, html, `class="waited"`)
	require.Contains(t, html, `class="over"`)
	require.Contains(t, html, " (on the critical path)</span>")
	require.Contains(t, html, `<desc id="chart-summary">31 steps over `)
	require.Contains(t, html, ">41 min 29 s</text>", "the waiting is cut out, and how long it was is said")

	html = page(t, recovered())
	require.NotContains(t, html, `class="over"`)
	require.NotContains(t, html, `class="waited"`)
	require.Contains(t, html, "objectives beyond the chart: whole 1 h, critical 30 min, database/frende 15 min and 4 more")
	require.Equal(t, 30, strings.Count(html, `<th scope="row">`)-11, "a row for every step, beside the objectives")
}

func TestEverythingDrawnLiesInsideTheChart(t *testing.T) {
	odd := breached()
	for i := range odd.Steps { // pauses everywhere, and clocks that went astray
		odd.Steps[i].Started = odd.Steps[i].Started.Add(time.Duration(i*i) * time.Hour)
		odd.Steps[i].Finished = odd.Steps[i].Started.Add(time.Second)
	}
	absurd := recovered()
	absurd.Steps[3].Started, absurd.Steps[4].Finished = time.Unix(0, 0), time.Unix(1<<40, 0)
	absurd.Clocks[0].Took, absurd.Clocks[1].Objective = system.Duration(math.MaxInt64), system.Duration(math.MaxInt64)
	place := regexp.MustCompile(`(?:x|x1|x2|width)="(-?[0-9.]+)%"`)
	rect := regexp.MustCompile(`x="([0-9.]+)%" width="([0-9.]+)%"`)
	number := func(text string) float64 {
		n, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		return n
	}
	for _, run := range []*report.Run{recovered(), breached(), failed(), aborted(), running(), backedUp(), many(20), longNames(), odd, absurd} {
		html := page(t, run)
		found := place.FindAllStringSubmatch(html, -1)
		require.NotEmpty(t, found)
		for _, f := range found {
			require.GreaterOrEqual(t, number(f[1]), 0.0, f[0])
			require.LessOrEqual(t, number(f[1]), 100.0, f[0])
		}
		for _, f := range rect.FindAllStringSubmatch(html, -1) {
			require.LessOrEqual(t, number(f[1])+number(f[2]), 100.02, f[0])
		}
	}
}

func TestTwoHundredStepsAreToldInASecondAndAMegabyte(t *testing.T) {
	run := many(20)
	require.Greater(t, len(run.Steps), 200)
	began := time.Now()
	html := page(t, run)
	require.Less(t, time.Since(began), time.Second)
	require.Less(t, len(html), 1<<20)
	require.Equal(t, len(run.Steps), strings.Count(html, `<td class="state">`))
}

// TestColoursCanBeRead holds the contrasts of WCAG 2.1: 4.5 for text, 3 for what is drawn.
func TestColoursCanBeRead(t *testing.T) {
	css, err := os.ReadFile("report.css")
	require.NoError(t, err)
	themes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllSubmatch(css, -1)
	require.Len(t, themes, 2)
	for _, theme := range themes {
		colours := map[string]float64{}
		for _, found := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]+);`).FindAllSubmatch(theme[1], -1) {
			colours[string(found[1])] = luminance(t, string(found[2]))
		}
		for name, least := range map[string]float64{"ink": 7, "soft": 4.5, "good": 4.5, "bad": 4.5, "missed": 4.5, "objective": 4.5, "bar": 3, "bar-critical": 4.5} {
			require.Contains(t, colours, name)
			lighter, darker := max(colours[name], colours["ground"]), min(colours[name], colours["ground"])
			require.GreaterOrEqual(t, (lighter+.05)/(darker+.05), least, "%s on %s", name, theme[0])
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		require.NoError(t, err)
		c := float64(n) / 255
		if c <= .03928 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+.055)/1.055, 2.4)
		}
	}
	return sum
}

func TestOnlyLongWordsAreBrokenBetweenTheirParts(t *testing.T) {
	r := backedUp()
	r.Steps[0].Detail = "49.7 MiB/s, pg_verifybackup, /srv/frende/uploads.lifeboat-old and a/"
	require.Contains(t, page(t, r), "<small>49.7 MiB/s, pg_verifybackup, /<wbr>srv/<wbr>frende/<wbr>uploads.lifeboat-old and a/</small>")
}

func TestRecordsOfTheFirstVersionAreStillTold(t *testing.T) {
	body, err := os.ReadFile("testdata/v0.1.json")
	require.NoError(t, err)
	var run report.Run
	require.NoError(t, json.Unmarshal(body, &run))
	html := page(t, &run)
	require.Contains(t, html, "<h1>frende recovered in 5.3 s of 1 h</h1>")
	require.Contains(t, strings.ReplaceAll(html, "<wbr>", ""), "old one is kept as /srv/frende/.lab/postgres/data.lifeboat-old-20261123T164650Z-7ccb8878")
	require.NotContains(t, html, "critical path</span>", "nothing is marked that the record does not hold")
	require.Equal(t, 30, strings.Count(html, `<td class="state">`))
}
