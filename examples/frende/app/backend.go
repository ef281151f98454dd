package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/examples/frende/site"
)

const (
	largestRequest = 64 << 10 // bytes of JSON
	largestPhoto   = 10 << 20
	sessionLife    = 30 * 24 * time.Hour
	pageOfMessages = 1000
)

// backend serves the API.
type backend struct {
	db     *pgxpool.Pool
	redis  *redis.Client
	photos photos
	log    *slog.Logger
}

func newBackend(ctx context.Context, data site.Storage, log *slog.Logger) (*backend, error) {
	db, err := pgxpool.New(ctx, data.Database)
	if err != nil {
		return nil, err
	}
	return &backend{
		db:     db,
		redis:  redis.NewClient(&redis.Options{Addr: data.Redis.Address, Password: data.Redis.Password}),
		photos: photos{dir: data.Photos},
		log:    log,
	}, nil
}

func (b *backend) close() {
	b.db.Close()
	if err := b.redis.Close(); err != nil {
		b.log.Error("close redis", "error", err)
	}
}

// failure is an error with the HTTP status that tells it.
type failure struct {
	status int
	text   string
}

func (f failure) Error() string { return f.text }

func (b *backend) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", b.answer(b.ready))
	mux.HandleFunc("GET /stats", b.answer(b.stats))
	mux.HandleFunc("POST /users", b.answer(b.createUser))
	mux.HandleFunc("GET /users/{id}", b.answer(b.readUser))
	mux.HandleFunc("POST /matches", b.answer(b.createMatch))
	mux.HandleFunc("POST /matches/{id}/messages", b.answer(b.createMessage))
	mux.HandleFunc("GET /matches/{id}/messages", b.answer(b.readMessages))
	mux.HandleFunc("POST /sessions", b.answer(b.logIn))
	mux.HandleFunc("GET /sessions/{token}", b.answer(b.readSession))
	mux.HandleFunc("PUT /users/{id}/photos/{name}", b.answer(b.storePhoto))
	mux.HandleFunc("GET /users/{id}/photos/{name}", b.showPhoto)
	return mux
}

// answer turns what a handler gives into JSON, and its error into a status.
func (b *backend) answer(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := handle(r)
		status := http.StatusOK
		if r.Method != http.MethodGet {
			status = http.StatusCreated
		}
		if err != nil {
			status = b.status(r, err)
			result = map[string]string{"error": http.StatusText(status)}
			if told, ok := errors.AsType[failure](err); ok {
				result = map[string]string{"error": told.text}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(result); err != nil {
			b.log.Error("answer", "path", r.URL.Path, "error", err)
		}
	}
}

// status logs what the client is not told.
func (b *backend) status(r *http.Request, err error) int {
	if told, ok := errors.AsType[failure](err); ok {
		return told.status
	}
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, redis.Nil) {
		return http.StatusNotFound
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code[:2] == "23" { // integrity constraint violation
		return http.StatusConflict
	}
	b.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	return http.StatusServiceUnavailable
}

func decode[T any](r *http.Request) (T, error) {
	var input T
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, largestRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&input); err != nil {
		return input, failure{http.StatusBadRequest, err.Error()}
	}
	return input, nil
}

func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, failure{http.StatusBadRequest, "id is a positive number"}
	}
	return id, nil
}

// ready says whether every part that the back end needs answers.
func (b *backend) ready(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := current(ctx, b.db); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := b.redis.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if err := b.photos.ready(); err != nil {
		return nil, fmt.Errorf("photos: %w", err)
	}
	return map[string]bool{"ready": true}, nil
}

type counts struct {
	Users    int64 `json:"users"`
	Matches  int64 `json:"matches"`
	Messages int64 `json:"messages"`
	Sessions int64 `json:"sessions"`
}

func (b *backend) stats(r *http.Request) (any, error) {
	var c counts
	err := b.db.QueryRow(r.Context(), "select (select count(*) from users), (select count(*) from matches), (select count(*) from messages)").
		Scan(&c.Users, &c.Matches, &c.Messages)
	if err != nil {
		return nil, err
	}
	c.Sessions, err = b.redis.DBSize(r.Context()).Result()
	return c, err
}
