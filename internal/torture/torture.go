package torture

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// mostFailures ends a row: by then it is known, and a broken server would
// only use up the time of the rows that follow.
const mostFailures = 10

// Row makes the trials of one row of the reliability table: small of them, or
// full at LIFEBOAT_TORTURE=full. Each is a subtest named by its number, from 0,
// and a failure of one does not keep the others from running. random is the
// trial's own source, made of seed and number. Trials that would run into the
// test's deadline are not begun, and the report says how many were made.
func Row(t *testing.T, row, small, full int, trial func(t *testing.T, n int, random *rand.Rand)) {
	t.Helper()
	asked, seed := Trials(t, small, full), Seed(t)
	result := Result{Row: row, Asked: asked, Seed: seed}
	defer func() { Published(t, result) }()
	var longest time.Duration
	for n := range asked {
		if deadline, bounded := t.Deadline(); bounded && time.Until(deadline) < time.Minute+3*longest {
			t.Logf("row %d: no time for more than %d of %d trials", row, n, asked)
			return
		}
		if result.Failures == mostFailures {
			t.Logf("row %d: given up after %d failures in %d of %d trials", row, mostFailures, n, asked)
			return
		}
		began := time.Now()
		passed := t.Run(strconv.Itoa(n), func(t *testing.T) {
			trial(t, n, rand.New(rand.NewPCG(seed, uint64(n))))
		})
		result.Trials++
		if !passed {
			result.Failures++
		}
		longest = max(longest, time.Since(began))
	}
}

// Trials gives how often a test tries: small times, or full at LIFEBOAT_TORTURE=full.
func Trials(t testing.TB, small, full int) int {
	t.Helper()
	switch value := os.Getenv("LIFEBOAT_TORTURE"); value {
	case "":
		return small
	case "full":
		return full
	default:
		t.Fatalf("LIFEBOAT_TORTURE is %q; it can only be full, or unset", value)
		return 0
	}
}

// Seed gives what a test's choices are made from: LIFEBOAT_SEED, or a new one.
// It is logged when the test fails.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := fresh()
	if given := os.Getenv("LIFEBOAT_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("LIFEBOAT_SEED is %q; it must be a number", given)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("make the same choices again with LIFEBOAT_SEED=%d", seed)
		}
	})
	return seed
}

// fresh is short enough to be read out.
func fresh() uint64 {
	var b [4]byte
	_, _ = cryptorand.Read(b[:]) // never fails
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

// Result is what became of a row in one test.
type Result struct {
	Row      int // of the reliability table
	Trials   int // made
	Asked    int // to be made
	Failures int
	Seed     uint64
}

// Published appends a result to the file that LIFEBOAT_TORTURE_REPORT names,
// if it does: row, trials, trials asked for, failures, seed and test, parted by
// tabs. Tests of several packages may append to one file at the same time.
func Published(t testing.TB, r Result) {
	t.Helper()
	name := os.Getenv("LIFEBOAT_TORTURE_REPORT")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("publish row %d: %v", r.Row, err)
		return
	}
	_, err = fmt.Fprintf(file, "%d\t%d\t%d\t%d\t%d\t%s\n", r.Row, r.Trials, r.Asked, r.Failures, r.Seed, t.Name())
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		t.Errorf("publish row %d: %v", r.Row, err)
	}
}

// PublishedAtEnd publishes a test that makes its trials in loops of its own,
// when the test has ended: trials counts what was made until then, and a test
// that failed stopped at its first failure. Nothing in it depends on a seed.
func PublishedAtEnd(t testing.TB, row int, trials func() int) {
	t.Helper()
	t.Cleanup(func() {
		r := Result{Row: row, Trials: trials()}
		r.Asked = r.Trials
		if t.Failed() {
			r.Failures = 1
		}
		Published(t, r)
	})
}
