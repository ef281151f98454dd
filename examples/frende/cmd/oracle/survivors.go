package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/examples/frende/site"
)

// survivor is one of the oracle's writes as it was found.
type survivor struct {
	number
	Token       string
	Fingerprint string // of the content, or what is wrong with it
}

// survivors is all that was found.
type survivors struct {
	Rows, Keys, Files []survivor
	Baseline          baseline
	Configuration     []configFile
}

// findSurvivors looks at the servers and the disk themselves.
func findSurvivors(ctx context.Context, configDir string, h header) (found survivors, err error) {
	where, err := site.Read[site.Storage](configDir, site.StorageFile)
	if err != nil {
		return found, err
	}
	if found.Rows, err = findRows(ctx, where.Database, h); err != nil {
		return found, fmt.Errorf("rows: %w", err)
	}
	if found.Keys, err = findKeys(ctx, where.Redis, h); err != nil {
		return found, fmt.Errorf("keys: %w", err)
	}
	if found.Files, err = findFiles(where.Photos, h); err != nil {
		return found, fmt.Errorf("files: %w", err)
	}
	if found.Configuration, err = readConfiguration(configDir); err != nil {
		return found, fmt.Errorf("configuration: %w", err)
	}
	found.Baseline, err = readBaseline(ctx, where)
	return found, err
}

func findRows(ctx context.Context, dsn string, h header) ([]survivor, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	// Without indexes: one that is broken must hide no row.
	if _, err := conn.Exec(ctx, "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off"); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "select key, body, author_id, match_id from messages where key like 'oracle-%'")
	if err != nil {
		return nil, err
	}
	var found []survivor
	var name, body string
	var author, match int64
	_, err = pgx.ForEachRow(rows, []any{&name, &body, &author, &match}, func() error {
		run, n, ok := numberIn(numberedName, name)
		if !ok || run != h.Run {
			return nil
		}
		s := survivor{number: n, Fingerprint: fingerprint([]byte(body))}
		if author != h.Author || match != h.Match {
			s.Fingerprint = "belongs to another match"
		}
		found = append(found, s)
		return nil
	})
	return found, err
}

func findKeys(ctx context.Context, at site.Redis, h header) (found []survivor, err error) {
	db := redis.NewClient(&redis.Options{Addr: at.Address, Password: at.Password})
	defer func() { err = errors.Join(err, db.Close()) }()
	keys := db.Scan(ctx, 0, "session:*", 1000).Iterator()
	for keys.Next(ctx) {
		value, err := db.Get(ctx, keys.Val()).Result()
		if err != nil {
			return nil, err
		}
		var session struct {
			User   int64
			Device string
		}
		if err := json.Unmarshal([]byte(value), &session); err != nil {
			continue // one of the loaded sessions, or damaged: then it is missing
		}
		run, n, ok := numberIn(numberedContent, session.Device)
		if !ok || run != h.Run {
			continue
		}
		s := survivor{number: n, Token: strings.TrimPrefix(keys.Val(), "session:"), Fingerprint: fingerprint([]byte(session.Device))}
		life, err := db.TTL(ctx, keys.Val()).Result()
		if err != nil {
			return nil, err
		}
		if life <= 0 {
			s.Fingerprint = "never expires"
		}
		if session.User != h.Author {
			s.Fingerprint = "belongs to another user"
		}
		found = append(found, s)
	}
	return found, keys.Err()
}

// isOracleSession says whether a key is one that an oracle wrote.
func isOracleSession(value string) bool {
	var session struct{ Device string }
	return json.Unmarshal([]byte(value), &session) == nil && numberedContent.MatchString(session.Device)
}

func findFiles(dir string, h header) ([]survivor, error) {
	entries, err := os.ReadDir(filepath.Join(dir, fmt.Sprint(h.Author)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []survivor
	for _, e := range entries {
		run, n, ok := numberIn(numberedName, e.Name())
		if !ok || run != h.Run {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(h.Author), e.Name()))
		if err != nil {
			return nil, err
		}
		found = append(found, survivor{number: n, Fingerprint: fingerprint(raw)})
	}
	return found, nil
}
