package temporal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/temporal"
)

func TestSearchAttributesThatCanNotBeAddedAreNamedWithTheCommand(t *testing.T) {
	server := lab.StartTemporal(t)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", server.Namespace)
	c, err := temporal.Dial(t.Context(), temporal.Options{Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, namespace, err := temporal.Where()
	require.NoError(t, err)
	require.Equal(t, server.Namespace, namespace)

	add := func(kind enums.IndexedValueType, names ...string) {
		wanted := map[string]enums.IndexedValueType{}
		for _, name := range names {
			wanted[name] = kind
		}
		_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: wanted})
		require.NoError(t, err)
	}
	wanted := []string{"LifeboatSystem", "LifeboatPhase"}
	require.False(t, temporal.HasSearchAttributes(t.Context(), c, namespace, wanted))

	add(enums.INDEXED_VALUE_TYPE_INT, "LifeboatPhase")
	err = temporal.AddSearchAttributes(t.Context(), c, namespace, wanted)
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	require.ErrorContains(t, err, "LifeboatPhase: not supported: namespace default has it as Int")
	require.Contains(t, fault.HintOf(err), "temporal operator search-attribute create --namespace default --name LifeboatPhase --type Keyword")

	wanted = []string{"LifeboatSystem", "LifeboatKind"}
	var others []string
	for i := range 9 { // of ten that there is room for
		others = append(others, fmt.Sprintf("Other%d", i))
	}
	add(enums.INDEXED_VALUE_TYPE_KEYWORD, others...)
	err = temporal.AddSearchAttributes(t.Context(), c, namespace, wanted)
	require.True(t, fault.Has(err, fault.Unsupported), "%v", err)
	require.Contains(t, fault.HintOf(err), "--name LifeboatSystem --type Keyword --name LifeboatKind --type Keyword")
	require.False(t, temporal.HasSearchAttributes(t.Context(), c, namespace, wanted))

	c.Close()
	require.False(t, temporal.HasSearchAttributes(t.Context(), c, namespace, nil), "a connection that is gone answers no")
}
