package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

// running is a whole Frende on real servers: two back ends and a front end.
type running struct {
	url      string
	data     site.Storage
	backends []*httptest.Server
}

func startSite(t *testing.T) running {
	t.Helper()
	database := lab.StartPostgres(t, lab.PostgresOptions{})
	cache := lab.StartRedis(t, lab.RedisOptions{AppendOnly: true})
	log := slog.New(slog.DiscardHandler)
	s := running{data: site.Storage{Database: database.DSN, Photos: t.TempDir()}}
	s.data.Redis.Address, s.data.Redis.Password = cache.Address, cache.Password
	require.NoError(t, migrate(t.Context(), database.DSN, log))
	places := site.Network{Backends: map[string]string{}}
	for i := range 2 {
		b, err := newBackend(t.Context(), s.data, log)
		require.NoError(t, err)
		t.Cleanup(b.close)
		server := httptest.NewServer(b.routes())
		t.Cleanup(server.Close)
		s.backends = append(s.backends, server)
		places.Backends[fmt.Sprintf("backend-%d", i)] = server.Listener.Addr().String()
	}
	front := httptest.NewServer(newFrontend(places, site.Look{Title: "Frende & friends"}, log).routes())
	t.Cleanup(front.Close)
	s.url = front.URL
	return s
}

func (s running) call(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	switch into := into.(type) {
	case nil:
	case *string:
		*into = string(raw)
	default:
		require.NoError(t, json.Unmarshal(raw, into), string(raw))
	}
	return response.StatusCode
}

func (s running) create(t *testing.T, path, body string) int64 {
	t.Helper()
	var made identity
	require.Equal(t, http.StatusCreated, s.call(t, http.MethodPost, path, body, &made))
	require.Positive(t, made.ID)
	return made.ID
}

func TestEverythingWrittenIsReadBack(t *testing.T) {
	s := startSite(t)
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/readyz", "", nil))
	ada := s.create(t, "/users", `{"name":"Ada","email":"ada@example.com"}`)
	ben := s.create(t, "/users", `{"name":"Ben","email":"ben@example.com"}`)
	together := s.create(t, "/matches", fmt.Sprintf(`{"first":%d,"second":%d}`, ada, ben))
	messages := fmt.Sprintf("/matches/%d/messages", together)
	sent := fmt.Sprintf(`{"author":%d,"key":"k1","body":"hello"}`, ada)
	first := s.create(t, messages, sent)

	var read user
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, fmt.Sprintf("/users/%d", ada), "", &read))
	require.Equal(t, user{ID: ada, Name: "Ada", Email: "ada@example.com"}, read)

	require.Equal(t, first, s.create(t, messages, sent), "a message sent twice is kept once")
	var kept []message
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, messages, "", &kept))
	require.Len(t, kept, 1)
	require.Equal(t, "hello", kept[0].Body)
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, fmt.Sprintf("%s?after=%d", messages, first), "", &kept))
	require.Empty(t, kept)

	var opened struct{ Token string }
	require.Equal(t, http.StatusCreated, s.call(t, http.MethodPost, "/sessions", `{"email":"ada@example.com","device":"phone"}`, &opened))
	var found session
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/sessions/"+opened.Token, "", &found))
	require.Equal(t, ada, found.User)
	require.Equal(t, "phone", found.Device)

	photo := fmt.Sprintf("/users/%d/photos/me.jpg", ada)
	require.Equal(t, http.StatusCreated, s.call(t, http.MethodPut, photo, "picture", nil))
	var shown string
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, photo, "", &shown))
	require.Equal(t, "picture", shown)
	entries, err := os.ReadDir(filepath.Join(s.data.Photos, fmt.Sprint(ada)))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")

	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/", "", &shown))
	require.Contains(t, shown, "Frende &amp; friends")
	require.Contains(t, shown, "<dd>2</dd>")
}

func TestBadRequestsAreRefused(t *testing.T) {
	s := startSite(t)
	ada := s.create(t, "/users", `{"name":"Ada","email":"ada@example.com"}`)
	for _, bad := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "/users", `{"name":"Ada","email":"ada@example.com"}`, http.StatusConflict},
		{http.MethodPost, "/users", `{"name":"Ada"}`, http.StatusBadRequest},
		{http.MethodPost, "/users", `{"nom":"Ada"}`, http.StatusBadRequest},
		{http.MethodPost, "/users", `{`, http.StatusBadRequest},
		{http.MethodPost, "/matches", fmt.Sprintf(`{"first":%d,"second":%d}`, ada, ada), http.StatusConflict},
		{http.MethodPost, "/matches/99/messages", `{"author":1,"key":"k","body":"x"}`, http.StatusConflict},
		{http.MethodPost, "/matches/99/messages", `{"author":1,"body":"x"}`, http.StatusBadRequest},
		{http.MethodPost, "/sessions", `{"email":"nobody@example.com"}`, http.StatusNotFound},
		{http.MethodGet, "/sessions/unknown", "", http.StatusNotFound},
		{http.MethodGet, "/users/99", "", http.StatusNotFound},
		{http.MethodGet, "/users/ada", "", http.StatusBadRequest},
		{http.MethodPut, "/users/1/photos/..%2f..%2fpasswd.jpg", "x", http.StatusBadRequest},
		{http.MethodPut, "/users/1/photos/me.exe", "x", http.StatusBadRequest},
		{http.MethodGet, "/users/1/photos/absent.jpg", "", http.StatusNotFound},
	} {
		require.Equal(t, bad.status, s.call(t, bad.method, bad.path, bad.body, nil), "%s %s %s", bad.method, bad.path, bad.body)
	}
}

func TestFrontendUsesTheBackendThatIsLeft(t *testing.T) {
	s := startSite(t)
	s.backends[0].Close()
	for i := range 4 {
		s.create(t, "/users", fmt.Sprintf(`{"name":"Ada","email":"ada%d@example.com"}`, i))
	}
	s.backends[1].Close()
	require.Equal(t, http.StatusBadGateway, s.call(t, http.MethodGet, "/stats", "", nil))
}

func TestReadinessNeedsEveryPart(t *testing.T) {
	s := startSite(t)
	require.NoError(t, os.RemoveAll(s.data.Photos))
	require.Equal(t, http.StatusServiceUnavailable, s.call(t, http.MethodGet, "/readyz", "", nil))
	require.NoError(t, os.Mkdir(s.data.Photos, 0o755))
	require.Equal(t, http.StatusOK, s.call(t, http.MethodGet, "/readyz", "", nil))
	conn, err := pgx.Connect(t.Context(), s.data.Database)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "delete from migrations where name like '%003%'")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	require.Equal(t, http.StatusServiceUnavailable, s.call(t, http.MethodGet, "/readyz", "", nil))
}

func TestMigrateIsRepeatable(t *testing.T) {
	database := lab.StartPostgres(t, lab.PostgresOptions{})
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	require.NoError(t, migrate(t.Context(), database.DSN, log))
	require.Equal(t, 3, strings.Count(out.String(), "applied=true"))
	out.Reset()
	require.NoError(t, migrate(t.Context(), database.DSN, log))
	require.Equal(t, 3, strings.Count(out.String(), "applied=false"))
}

func TestUnknownConfigurationIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "look.yaml"), []byte("title: Frende\nwelcom: hello\n"), 0o600))
	_, err := site.Read[site.Look](dir, site.LookFile)
	require.ErrorContains(t, err, "welcom")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "look.yaml"), []byte("title: Frende\nwelcome: hello\n"), 0o600))
	words, err := site.Read[site.Look](dir, site.LookFile)
	require.NoError(t, err)
	require.Equal(t, site.Look{Title: "Frende", Welcome: "hello"}, words)
}

func TestRunNamesWhatIsWrong(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), nil), "usage")
	require.ErrorContains(t, run(t.Context(), []string{"dance"}), "unknown mode")
	require.ErrorContains(t, run(t.Context(), []string{"backend", "--config", t.TempDir()}), "storage.yaml")
}
