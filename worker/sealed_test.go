package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/workflows/api"
)

// sealed puts a key for payloads into the configuration and follows runs, people
// with Temporal's own command, a wrong key, and a change of keys.
func (h *house) sealed(t *testing.T) {
	h.keep(t, map[string]string{"payloads": randomKey(t), "payloads-newer": randomKey(t)})
	ref := func(name string) string { return strconv.Quote("file:" + h.secret(name)) }
	plain := h.plan
	use := func(setting string) {
		h.plan.More = plain.More + "temporal: {" + setting + "}\n"
		h.write(t, "lifeboat.yaml", h.plan)
		require.NoError(t, h.worker.Stop(t.Context()))
		require.NoError(t, h.worker.Start(t.Context()))
	}
	use("payload_key: " + ref("payloads"))
	before := h.histories(t)
	h.lifeboat(t, "backup", "files", "uploads").done(t)

	endpoint := h.codec(t)
	h.temporalCommand(t, endpoint, "workflow", "start", "--type", api.RecoverFiles, "--task-queue", api.Queue, "--workflow-id", "by-hand", "--input", `{"component":"uploads","by":"dba@frende.com"}`)
	var asked struct{ QueryResult []api.Progress }
	await(t, "the recovery to wait, as Temporal's command sees it", func() bool {
		text := h.temporalCommand(t, endpoint, "workflow", "query", "-w", "by-hand", "--type", api.QueryProgress, "--output", "json")
		require.NoError(t, json.Unmarshal([]byte(text), &asked), text)
		return len(asked.QueryResult) == 1 && asked.QueryResult[0].Phase == api.PhaseWaiting
	})
	require.Equal(t, "frende", asked.QueryResult[0].System)
	answer := h.temporalCommand(t, endpoint, "workflow", "update", "execute", "-w", "by-hand", "--name", api.UpdateAbort, "--input", `{"reason":"only a try"}`)
	require.Contains(t, answer, "accepted")
	h.lifeboat(t, "watch", "by-hand").ended(t, fault.Aborted, "frende")

	t.Run("no history holds a path, a bucket or a reason", func(t *testing.T) { h.nothingInTheClear(t, before) })
	t.Run("another key opens nothing and is named", func(t *testing.T) {
		wrong := h.plan
		wrong.More = plain.More + "temporal: {payload_key: " + ref("payloads-newer") + "}\n"
		h.write(t, "wrong.yaml", wrong)
		h.with(t, "wrong.yaml", "watch", "by-hand").ended(t, fault.KeyUnavailable)
		h.write(t, "keyless.yaml", plain)
		h.with(t, "keyless.yaml", "watch", "by-hand").ended(t, fault.KeyUnavailable)
		h.with(t, "keyless.yaml", "codec", "serve").ended(t, fault.ConfigInvalid, "keyless.yaml")
	})
	t.Run("keys are changed while runs go on", func(t *testing.T) {
		use("payload_keys: [" + ref("payloads-newer") + ", " + ref("payloads") + "]")
		h.lifeboat(t, "watch", "by-hand").ended(t, fault.Aborted, "frende")
		h.lifeboat(t, "backup", "configuration", "frende").done(t)
		told := h.lifeboat(t, "codec", "keys").done(t)
		require.Regexp(t, `^[0-9a-f]{16}\s+file:\S+payloads-newer\s+seals and opens\n[0-9a-f]{16}\s+file:\S+payloads\s+opens\n$`, told.stdout)
	})
	h.plan = plain
}

// codec starts the endpoint as its own process and gives its URL.
func (h *house) codec(t *testing.T) string {
	t.Helper()
	port, err := lab.FreePort()
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	served, err := h.lab.Define(lab.Program{
		Name: "codec", Args: []string{program("lifeboat"), "codec", "serve", "--listen", address}, Env: h.env("lifeboat.yaml"), Ready: "tcp://" + address,
	})
	require.NoError(t, err)
	require.NoError(t, served.Start(t.Context()))
	return "http://" + address
}

// temporalCommand runs Temporal's own command as an operator would, and wants success.
func (h *house) temporalCommand(t *testing.T, endpoint string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.lab.Command(ctx, h.temporal.Binary, append(args, "--address", h.temporal.Address, "--codec-endpoint", endpoint)...)
	o := h.run(t, cmd)
	require.Zero(t, o.code, "temporal %s\n%s%s", o.line, o.stdout, o.stderr)
	return o.stdout
}

// with runs the lifeboat command under another configuration.
func (h *house) with(t *testing.T, config string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.lab.Command(ctx, program("lifeboat"), args...)
	cmd.Env = append(cmd.Env, h.env(config)...)
	return h.run(t, cmd)
}

// nothingInTheClear looks at the runs since before as Temporal stores them.
func (h *house) nothingInTheClear(t *testing.T, before map[string][]byte) {
	t.Helper()
	looked := 0
	for id, history := range h.histories(t) {
		if before[id] != nil {
			continue
		}
		looked++
		for _, word := range []string{h.uploads, h.settings, h.postgres.DataDir, bucket, "dba@frende.com", "only a try", "users", "capture " + h.uploads, `"system"`, "aborted by an operator"} {
			require.False(t, bytes.Contains(history, []byte(word)), "the history of %s holds %q", id, word)
		}
		require.Contains(t, string(history), "binary/encrypted")
		// The system's name stands in IDs and in a search attribute, which are never sealed, and nowhere else.
		text := strings.NewReplacer("backup/frende/", "", "recover/frende/", "", "hold/frende", "", "LifeboatSystem", "").Replace(string(history))
		require.LessOrEqual(t, strings.Count(text, "frende"), strings.Count(string(history), "LifeboatSystem"), "the history of %s", id)
	}
	require.GreaterOrEqual(t, looked, 3, "the backup, the recovery and its child")
	for id, history := range before {
		if strings.HasPrefix(id, "backup/frende/files/uploads/") {
			require.Contains(t, string(history), h.uploads, "before there was a key")
		}
	}
}
