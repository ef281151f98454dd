package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync/atomic"
	"time"

	"github.com/frende/lifeboat/examples/frende/site"
)

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Look.Title}}</title>
<style>body{font-family:sans-serif;max-width:40em;margin:4em auto}dt{float:left;width:8em}</style></head>
<body><h1>{{.Look.Title}}</h1><p>{{.Look.Welcome}}</p>
<dl><dt>People</dt><dd>{{.Counts.Users}}</dd><dt>Matches</dt><dd>{{.Counts.Matches}}</dd>
<dt>Messages</dt><dd>{{.Counts.Messages}}</dd><dt>Signed in</dt><dd>{{.Counts.Sessions}}</dd></dl>
</body></html>
`

// frontend shares requests out over the back ends, and shows a page.
type frontend struct {
	look   site.Look
	page   *template.Template
	client *http.Client
	log    *slog.Logger
}

func newFrontend(places site.Network, words site.Look, log *slog.Logger) *frontend {
	names := slices.Sorted(maps.Keys(places.Backends))
	var addresses []string
	for _, name := range names {
		addresses = append(addresses, places.Backends[name])
	}
	return &frontend{look: words, page: template.Must(template.New("page").Parse(page)), log: log, client: &http.Client{
		Transport: &rotation{addresses: addresses, base: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}},
		Timeout:   30 * time.Second,
	}}
}

func (f *frontend) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /{$}", f.showPage)
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "backend"
			r.SetXForwarded()
		},
		Transport: f.client.Transport,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			f.log.Error("no back end answers", "path", r.URL.Path, "error", err)
			http.Error(w, "no back end answers", http.StatusBadGateway)
		},
	})
	return mux
}

func (f *frontend) showPage(w http.ResponseWriter, r *http.Request) {
	shown := struct {
		Look   site.Look
		Counts counts
	}{Look: f.look}
	if err := f.readCounts(r.Context(), &shown.Counts); err != nil {
		f.log.Error("page", "error", err)
		http.Error(w, "no back end answers", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := f.page.Execute(w, shown); err != nil {
		f.log.Error("page", "error", err)
	}
}

func (f *frontend) readCounts(ctx context.Context, into *counts) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://backend/stats", nil)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the back end answers %s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// rotation sends each request to the next back end, and to another one when
// that can't be connected to: then nothing was sent, and nothing can be doubled.
type rotation struct {
	addresses []string
	base      http.RoundTripper
	turn      atomic.Uint64
}

func (t *rotation) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, largestPhoto))
		if err := errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	first := t.turn.Add(1)
	var last error
	for i := range t.addresses {
		try := r.Clone(r.Context())
		try.URL.Host = t.addresses[(first+uint64(i))%uint64(len(t.addresses))]
		if r.Body != nil {
			try.Body = io.NopCloser(bytes.NewReader(body))
			try.ContentLength = int64(len(body))
		}
		response, err := t.base.RoundTrip(try)
		if err == nil {
			return response, nil
		}
		last = err
		if failed, ok := errors.AsType[*net.OpError](err); !ok || failed.Op != "dial" {
			return nil, err
		}
	}
	return nil, errors.Join(errors.New("no back end can be connected to"), last)
}
