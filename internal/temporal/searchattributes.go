package temporal

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/frende/lifeboat/internal/fault"
)

// searchTimeout bounds every question about search attributes: nothing waits for them.
const searchTimeout = 5 * time.Second

// AddSearchAttributes sees to it that the namespace has search attributes of
// type Keyword with these names. It may be called at any time, also by several
// workers at once. Its error says how an administrator adds them, where this
// connection may not; Lifeboat works without them.
func AddSearchAttributes(ctx context.Context, c client.Client, namespace string, names []string) error {
	const op = "add search attributes to"
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	missing, err := missingSearchAttributes(ctx, c, namespace, names)
	if err == nil && len(missing) > 0 {
		_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: Keywords(missing)})
		if err != nil { // another worker may have been faster
			if still, second := missingSearchAttributes(ctx, c, namespace, names); second == nil && len(still) == 0 {
				err = nil
			}
		}
	}
	if err == nil || fault.KindOf(err) != "" {
		return err
	}
	return fault.New(fault.Unsupported, op, "namespace "+namespace, err).
		WithHint("runs can't be searched for until an administrator adds them: %s", searchAttributeCommand(namespace, names))
}

// Keywords are search attributes of these names, all of type Keyword.
func Keywords(names []string) map[string]enums.IndexedValueType {
	types := make(map[string]enums.IndexedValueType, len(names))
	for _, name := range names {
		types[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	return types
}

// HasSearchAttributes says whether the namespace has all of them now. It says no when it can't be known.
func HasSearchAttributes(ctx context.Context, c client.Client, namespace string, names []string) bool {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	missing, err := missingSearchAttributes(ctx, c, namespace, names)
	return err == nil && len(missing) == 0
}

func missingSearchAttributes(ctx context.Context, c client.Client, namespace string, names []string) ([]string, error) {
	listed, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range names {
		switch kind, ok := listed.GetCustomAttributes()[name]; {
		case !ok:
			missing = append(missing, name)
		case kind != enums.INDEXED_VALUE_TYPE_KEYWORD:
			return nil, fault.Newf(fault.Unsupported, "use search attribute", name, "namespace %s has it as %s", namespace, kind).
				WithHint("runs can't be searched for: it must be a Keyword, so remove it, then: %s", searchAttributeCommand(namespace, []string{name}))
		}
	}
	slices.Sort(missing)
	return missing, nil
}

func searchAttributeCommand(namespace string, names []string) string {
	command := []string{"temporal operator search-attribute create --namespace " + namespace}
	for _, name := range names {
		command = append(command, "--name "+name+" --type Keyword")
	}
	return strings.Join(command, " ")
}
