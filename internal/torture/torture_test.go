package torture_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/torture"
)

func TestRowIsTriedAtItsCountWithItsSeedAndPublished(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	t.Setenv("LIFEBOAT_TORTURE_REPORT", report)
	t.Setenv("LIFEBOAT_SEED", "7")
	for _, c := range []struct {
		torture string
		trials  int
	}{{"", 2}, {"full", 5}} {
		t.Setenv("LIFEBOAT_TORTURE", c.torture)
		var drawn [2][]uint64
		for again := range drawn {
			torture.Row(t, 4, 2, 5, func(t *testing.T, n int, random *rand.Rand) {
				require.Equal(t, len(drawn[again]), n)
				drawn[again] = append(drawn[again], random.Uint64())
			})
		}
		require.Len(t, drawn[0], c.trials)
		require.Equal(t, drawn[0], drawn[1], "a seed makes the same choices again")
		require.NotEqual(t, drawn[0][0], drawn[0][1], "each trial makes its own")
	}
	published, err := os.ReadFile(report)
	require.NoError(t, err)
	line := "\t0\t7\t" + t.Name() + "\n"
	require.Equal(t, "4\t2\t2"+line+"4\t2\t2"+line+"4\t5\t5"+line+"4\t5\t5"+line, string(published))
}

func TestSeedsDifferUnlessOneIsGiven(t *testing.T) {
	t.Setenv("LIFEBOAT_SEED", "")
	require.NotEqual(t, torture.Seed(t), torture.Seed(t))
	t.Setenv("LIFEBOAT_SEED", "18446744073709551615")
	require.Equal(t, ^uint64(0), torture.Seed(t))
}

func TestTrialsOfALoopAreCountedWhenItHasEnded(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	t.Setenv("LIFEBOAT_TORTURE_REPORT", report)
	t.Run("loop", func(t *testing.T) {
		made := 0
		torture.PublishedAtEnd(t, 8, func() int { return made })
		for range 3 {
			made++
		}
	})
	published, err := os.ReadFile(report)
	require.NoError(t, err)
	require.Equal(t, "8\t3\t3\t0\t0\t"+t.Name()+"/loop\n", string(published))
}
