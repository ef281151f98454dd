package docs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type statement struct {
	Sid, Effect      string
	Action, Resource texts
	Condition        map[string]map[string]any
}

// texts are one text or several, as policies have them.
type texts []string

func (t *texts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

func policies(t *testing.T) map[string][]statement {
	t.Helper()
	files, err := filepath.Glob("../contrib/s3-policies/*.json")
	require.NoError(t, err)
	all := map[string][]statement{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var policy struct {
			Version   string
			Statement []statement
		}
		require.NoError(t, json.Unmarshal(text, &policy), file)
		require.Equal(t, "2012-10-17", policy.Version)
		all[filepath.Base(file)] = policy.Statement
	}
	return all
}

func TestEachPolicyIsExplainedAndAllowsNothingByPattern(t *testing.T) {
	text, err := os.ReadFile("S3-POLICIES.md")
	require.NoError(t, err)
	all := policies(t)
	require.Len(t, all, 6)
	for name, statements := range all {
		require.Contains(t, string(text), "| ["+name+"](../contrib/s3-policies/"+name+") |")
		for _, one := range statements {
			require.NotEmpty(t, one.Sid, name)
			for _, action := range one.Action {
				if one.Effect == "Allow" {
					require.NotContains(t, action, "*", name)
				}
			}
			for _, resource := range one.Resource {
				require.Regexp(t, `^arn:aws:s3:::(BUCKET|REPLICA)(/.+)?$`, resource, name)
			}
		}
	}
}

func TestNobodyMayOverwriteAndRetentionAloneMayDelete(t *testing.T) {
	for name, statements := range policies(t) {
		puts, guarded := false, false
		for _, one := range statements {
			allowed := one.Effect == "Allow"
			puts = puts || allowed && slices.Contains(one.Action, "s3:PutObject")
			if null := one.Condition["Null"]; !allowed && slices.Contains(one.Action, "s3:PutObject") {
				guarded = null["s3:if-none-match"] == "true" && strings.HasSuffix(one.Resource[0], "/*")
			}
			for _, action := range one.Action {
				if allowed && strings.Contains(action, "Delete") {
					require.Equal(t, "retention.json", name)
					require.Equal(t, "s3:DeleteObjectVersion", action)
					for _, resource := range one.Resource {
						require.Regexp(t, `BUCKET/(wal|[a-z]+-backups)/\*$`, resource)
					}
				}
			}
		}
		require.True(t, !puts || guarded, "%s allows to write over objects", name)
	}
}
