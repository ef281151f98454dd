package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/system"
)

const (
	beginTroubles = "<!-- troubles: every check named here exists; go test ./docs holds that -->"
	endTroubles   = "<!-- end of troubles -->"
)

func TestEveryTroubleIsAnsweredByChecksThatExist(t *testing.T) {
	configured, findings, err := system.Inspect("../examples/frende/lifeboat.yaml", func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	require.Empty(t, findings)
	configured.Keys.Encryption = append(configured.Keys.Encryption, "file:/etc/lifeboat/key") // permissions are those of a file
	configured.Databases[0].Standby = &system.Standby{Connection: "env:FRENDE_STANDBY_URL"}
	known, areas := map[string]bool{}, map[doctor.Area]bool{}
	for _, f := range doctor.New(doctor.Config{System: *configured, File: "lifeboat.yaml"}).Names() {
		known[string(f.Area)+"/"+f.Check] = true
	}

	text, err := os.ReadFile("DOCTOR.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), beginTroubles)
	require.True(t, found)
	table, _, found := strings.Cut(rest, endTroubles)
	require.True(t, found)
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| trouble") || strings.HasPrefix(line, "| ---") {
			continue
		}
		answers := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1)
		require.NotEmpty(t, answers, "nothing answers: %s", line)
		for _, answer := range answers {
			if answer[1] == "lifeboat doctor" {
				continue
			}
			require.True(t, known[answer[1]], "there is no check %s", answer[1])
			area, _, _ := strings.Cut(answer[1], "/")
			areas[doctor.Area(area)] = true
		}
	}
	for _, area := range doctor.Areas() {
		require.True(t, areas[area], "no trouble leads to %s", area)
	}
}
