package window_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/window"
)

func TestASpanInWhichNothingHappenedNamesNoTime(t *testing.T) {
	at := time.Date(2024, 1, 15, 2, 0, 6, 0, time.UTC)
	s := window.Span{Timeline: 1, From: at, FromLSN: 0x30C5CA8, To: at.Add(-time.Second), ToLSN: 0x4000000}
	require.Equal(t, "no time, only positions from 0/30C5CA8 to 0/4000000: no transaction has ended since the backup of 2024-01-15T02:00:06.000000Z on timeline 1", s.String())
	s.To = at.Add(time.Hour)
	require.Equal(t, "2024-01-15T02:00:06.000000Z (0/30C5CA8) to before 2024-01-15T03:00:06.000000Z (0/4000000) on timeline 1", s.String())
}
