package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
)

func TestEveryKindIsWrittenForAPerson(t *testing.T) {
	require.NotEmpty(t, fault.Kinds())
	for _, kind := range fault.Kinds() {
		d := kind.Definition()
		require.NotEmpty(t, d.Summary, kind)
		require.NotEmpty(t, d.Hint, kind)
		require.False(t, strings.HasSuffix(d.Summary, ".") || strings.HasSuffix(d.Hint, "."), "%s ends with a dot", kind)
		first := []rune(d.Summary)[0]
		require.True(t, unicode.IsLower(first) || strings.HasPrefix(d.Summary, "WAL") || strings.HasPrefix(d.Summary, "Temporal"), "%s: %s", kind, d.Summary)
		require.True(t, d.Exit > 0 && d.Exit <= 125, "%s: exit %d means something else to PostgreSQL and to shells", kind, d.Exit)
	}
}

func TestErrorNamesOperationSubjectAndCause(t *testing.T) {
	err := fault.New(fault.KeyUnavailable, "open backup", "database-backups/x", errors.New("key frende-7 has no slot for it"))
	require.Equal(t, "open backup database-backups/x: no configured key opens it: key frende-7 has no slot for it", err.Error())
	wrapped := fmt.Errorf("while recovering: %w", err)
	require.True(t, fault.Has(wrapped, fault.KeyUnavailable))
	require.ErrorIs(t, wrapped, fault.KeyUnavailable.Err())
	require.NotErrorIs(t, wrapped, fault.KeyWrong.Err())
	require.Equal(t, fault.ExitIntegrity, fault.ExitCode(wrapped))
	require.False(t, fault.Retryable(wrapped))
	require.Equal(t, "bring the other key", fault.HintOf(err.WithHint("bring %s", "the other key")))
	require.NotEqual(t, "bring the other key", err.Hint, "the original is unchanged")
}

func TestAnUnnamedErrorIsTriedAgainAndExitsWithOne(t *testing.T) {
	err := errors.New("something")
	require.True(t, fault.Retryable(err))
	require.Equal(t, fault.ExitFailed, fault.ExitCode(err))
	require.Zero(t, fault.ExitCode(nil))
	require.Empty(t, fault.KindOf(err))
}
