package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/examples/frende/site"
)

const (
	requestTimeout = 10 * time.Second
	retryPause     = 100 * time.Millisecond // while the application does not answer
)

// plan says how much the oracle writes.
type plan struct {
	config, app, log  string
	rows, keys, files int           // streams of each kind
	pace              time.Duration // between two writes of one stream
}

// recorder writes through the application and logs what it acknowledges.
type recorder struct {
	plan
	run     string
	match   int64
	author  int64
	email   string
	db      *pgxpool.Pool // for WAL positions only
	client  *http.Client
	journal *journal
}

// record writes until ctx ends.
func record(ctx context.Context, p plan) (err error) {
	where, err := site.Read[site.Storage](p.config, site.StorageFile)
	if err != nil {
		return err
	}
	db, err := pgxpool.New(ctx, where.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	streams := p.rows + p.keys + p.files
	r := &recorder{plan: p, run: strings.ToLower(rand.Text()[:10]), db: db, client: &http.Client{
		Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: streams, MaxConnsPerHost: streams},
	}}
	if err := r.introduce(ctx); err != nil {
		return err
	}
	h := header{Run: r.run, Began: time.Now(), Match: r.match, Author: r.author}
	if h.Configuration, err = readConfiguration(p.config); err != nil {
		return err
	}
	if h.Baseline, err = readBaseline(ctx, where); err != nil {
		return err
	}
	if r.journal, err = createJournal(p.log, h); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.journal.close()) }()
	group, ctx := errgroup.WithContext(ctx)
	start := func(k kind, streams int, write func(context.Context, number) (string, error)) {
		for stream := range streams {
			group.Go(func() error { return r.stream(ctx, k, stream+1, write) })
		}
	}
	start(row, p.rows, r.writeRow)
	start(key, p.keys, r.writeKey)
	start(file, p.files, r.writeFile)
	return group.Wait()
}

// introduce makes the two people that write to each other.
func (r *recorder) introduce(ctx context.Context) error {
	var made struct{ ID int64 }
	var people []int64
	for _, name := range []string{"first", "second"} {
		email := fmt.Sprintf("oracle-%s-%s@frende.example", r.run, name)
		if err := r.send(ctx, http.MethodPost, "/users", map[string]string{"name": "Oracle", "email": email}, &made); err != nil {
			return err
		}
		people = append(people, made.ID)
		if r.email == "" {
			r.email = email
		}
	}
	if err := r.send(ctx, http.MethodPost, "/matches", map[string]int64{"first": people[0], "second": people[1]}, &made); err != nil {
		return err
	}
	r.author, r.match = people[0], made.ID
	return nil
}

// stream writes one number after the other. A write that was not acknowledged
// is sent again, and counts from its first try.
func (r *recorder) stream(ctx context.Context, k kind, stream int, write func(context.Context, number) (string, error)) error {
	pace := time.NewTicker(r.pace)
	defer pace.Stop()
	retry := time.NewTicker(retryPause)
	defer retry.Stop()
	for seq := 1; ; seq++ {
		e := entry{Kind: k, number: number{Stream: stream, Seq: seq}}
		for e.Acked.IsZero() {
			if ctx.Err() != nil {
				return nil // told to stop
			}
			if err := r.attempt(ctx, &e, write); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return nil
			case <-retry.C:
			}
		}
		if err := r.journal.append(e); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
	}
}

// attempt is finished even when ctx ends, so that no acknowledgement goes unlogged.
func (r *recorder) attempt(ctx context.Context, e *entry, write func(context.Context, number) (string, error)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if e.Began.IsZero() {
		before, err := r.position(ctx)
		if err != nil {
			return err
		}
		e.Began, e.Before = time.Now(), before
	}
	token, err := write(ctx, e.number)
	if err != nil {
		return err
	}
	acked := time.Now()
	after, err := r.position(ctx)
	if err != nil {
		return err
	}
	e.Token, e.Acked, e.After = token, acked, after
	return nil
}

func (r *recorder) position(ctx context.Context) (lsn, error) {
	var text string
	if err := r.db.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return 0, err
	}
	return parseLSN(text)
}

func (r *recorder) writeRow(ctx context.Context, n number) (string, error) {
	return "", r.send(ctx, http.MethodPost, fmt.Sprintf("/matches/%d/messages", r.match), map[string]any{
		"author": r.author, "key": rowKey(r.run, n), "body": string(content(r.run, row, n)),
	}, nil)
}

func (r *recorder) writeKey(ctx context.Context, n number) (string, error) {
	var made struct{ Token string }
	err := r.send(ctx, http.MethodPost, "/sessions", map[string]string{"email": r.email, "device": string(content(r.run, key, n))}, &made)
	return made.Token, err
}

func (r *recorder) writeFile(ctx context.Context, n number) (string, error) {
	path := fmt.Sprintf("/users/%d/photos/%s", r.author, fileName(r.run, n))
	return "", r.sendBytes(ctx, http.MethodPut, path, content(r.run, file, n), nil)
}

func (r *recorder) send(ctx context.Context, method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return r.sendBytes(ctx, method, path, raw, into)
}

// sendBytes takes 201 Created alone for an acknowledgement.
func (r *recorder) sendBytes(ctx context.Context, method, path string, body []byte, into any) (err error) {
	request, err := http.NewRequestWithContext(ctx, method, r.app+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
