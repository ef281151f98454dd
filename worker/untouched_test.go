package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/target"
)

// production is the living system at one moment: what runs, where its data lies
// and what it holds, and what stands beside it.
type production struct {
	PIDs     map[string]int
	Inodes   map[string]uint64
	Files    map[string]string // content of uploads and settings
	Rows     string
	Keys     map[string]string
	Access   string   // pg_hba.conf
	Beside   []string // names beside the components' directories
	Leftover []string
	Scratch  []string // directories that Lifeboat keeps in its temporary directory, besides that of its logs
}

// look takes a picture of production.
func (h *house) look(t *testing.T) production {
	t.Helper()
	p := production{PIDs: map[string]int{}, Inodes: map[string]uint64{}, Files: map[string]string{}, Keys: map[string]string{}}
	for _, service := range []*lab.Service{h.postgres.Service, h.redis.Service, h.app} {
		pid, err := service.PID()
		require.NoError(t, err)
		require.NotZero(t, pid, "%s runs", service.Name())
		p.PIDs[service.Name()] = pid
	}
	for _, dir := range h.dirs() {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		p.Inodes[dir] = info.Sys().(*syscall.Stat_t).Ino
		left, err := target.Leftovers(dir)
		require.NoError(t, err)
		for _, one := range left {
			p.Leftover = append(p.Leftover, one.Path)
		}
	}
	for _, parent := range []string{filepath.Dir(h.postgres.DataDir), filepath.Dir(h.redis.Dir), filepath.Dir(h.uploads)} {
		entries, err := os.ReadDir(parent)
		require.NoError(t, err)
		for _, entry := range entries {
			p.Beside = append(p.Beside, filepath.Join(parent, entry.Name()))
		}
	}
	logs := regexp.MustCompile(`^lifeboat-[0-9]+$`) // the worker's log directory, named for its user, stays
	entries, err := os.ReadDir(h.tmp())
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.IsDir() && !logs.MatchString(entry.Name()) {
			p.Scratch = append(p.Scratch, entry.Name())
		}
	}
	for _, root := range []string{h.uploads, h.settings} {
		require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			p.Files[path] = string(content)
			return err
		}))
	}
	p.Rows = h.rows(t)
	p.Keys = h.keys(t)
	access, err := os.ReadFile(filepath.Join(h.postgres.DataDir, "pg_hba.conf"))
	require.NoError(t, err)
	p.Access = string(access)
	return p
}

func (h *house) dirs() []string {
	return []string{h.postgres.DataDir, h.redis.Dir, h.uploads, h.settings}
}

func (h *house) rows(t *testing.T) string {
	t.Helper()
	return h.text(t, "select count(*) || ' rows ' || md5(string_agg(id || name, ',' order by id)) from users")
}

func (h *house) keys(t *testing.T) map[string]string {
	t.Helper()
	db := h.cache(t)
	keys, err := db.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	found := map[string]string{}
	for _, key := range keys {
		found[key], err = db.Get(t.Context(), key).Result()
		require.NoError(t, err)
	}
	return found
}

// content is what production holds, wherever it lies and whoever serves it.
func (p production) content() production {
	return production{Rows: p.Rows, Keys: p.Keys, Files: p.Files}
}

// keepsSecrets looks for every secret in all that was printed and logged, and
// in every history that Temporal holds.
func (h *house) keepsSecrets(t *testing.T) {
	t.Helper()
	texts := map[string][]byte{"what the commands printed": h.said.Bytes()}
	logs, err := filepath.Glob(h.lab.Path("log", "worker*.log"))
	require.NoError(t, err)
	scratch, err := filepath.Glob(filepath.Join(h.tmp(), "*.log"))
	require.NoError(t, err)
	for _, path := range append(logs, scratch...) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		texts[path] = content
	}
	pinned := 0
	for id, history := range h.histories(t) {
		texts["the history of "+id] = history
		if bytes.Contains(history, []byte(h.uploads)) {
			pinned++
		}
	}
	require.Positive(t, pinned, "payloads are searched, not their encoding")
	for where, text := range texts {
		for name, secret := range h.secrets {
			require.False(t, bytes.Contains(text, []byte(secret)), "%s holds the secret %q", where, name)
		}
	}
}

// histories gives every run's history as Temporal stores it: payloads are in it as they are.
func (h *house) histories(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	var page []byte
	for {
		listed, err := h.client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: h.temporal.Namespace, NextPageToken: page})
		require.NoError(t, err)
		for _, execution := range listed.GetExecutions() {
			id, run := execution.GetExecution().GetWorkflowId(), execution.GetExecution().GetRunId()
			var text []byte
			events := h.client.GetWorkflowHistory(t.Context(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for events.HasNext() {
				event, err := events.Next()
				require.NoError(t, err)
				raw, err := proto.Marshal(event)
				require.NoError(t, err)
				text = append(text, raw...)
			}
			require.NotEmpty(t, text)
			found[strings.Join([]string{id, run}, "@")] = text
		}
		if page = listed.GetNextPageToken(); len(page) == 0 {
			return found
		}
	}
}
