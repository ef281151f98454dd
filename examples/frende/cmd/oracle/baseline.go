package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/examples/frende/site"
)

// digest counts things and sums them up in a way that knows no order.
type digest struct {
	Count int64  `json:"count"`
	Sum   string `json:"sum"`
}

// baseline is everything that the oracle did not write itself. Nobody else
// writes while it records, so it has to come back as it was.
type baseline struct {
	Rows  digest `json:"rows"`
	Keys  digest `json:"keys"`
	Files digest `json:"files"`
}

// adder sums hashes up.
type adder struct {
	count int64
	sum   uint64
}

func (a *adder) add(parts ...string) {
	hash := sha256.New()
	for _, part := range parts {
		_ = binary.Write(hash, binary.BigEndian, int64(len(part))) // a hash takes everything
		hash.Write([]byte(part))
	}
	a.count++
	a.sum += binary.BigEndian.Uint64(hash.Sum(nil))
}

func (a *adder) digest() digest { return digest{Count: a.count, Sum: fmt.Sprintf("%016x", a.sum)} }

func readBaseline(ctx context.Context, where site.Storage) (b baseline, err error) {
	if b.Rows, err = digestRows(ctx, where.Database); err != nil {
		return b, fmt.Errorf("digest of rows: %w", err)
	}
	if b.Keys, err = digestKeys(ctx, where.Redis); err != nil {
		return b, fmt.Errorf("digest of keys: %w", err)
	}
	if b.Files, err = digestFiles(where.Photos); err != nil {
		return b, fmt.Errorf("digest of files: %w", err)
	}
	return b, nil
}

// digestRows lets the server hash every row of every table.
func digestRows(ctx context.Context, dsn string) (digest, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return digest{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	var d digest
	err = conn.QueryRow(ctx, `
		select count(*), coalesce(sum(hash), 0)::text from (
			select hashtextextended('users' || t::text, 0)::numeric as hash from users t where email not like 'oracle-%'
			union all select hashtextextended('matches' || t::text, 0)::numeric from matches t
				where first_id not in (select id from users where email like 'oracle-%')
			union all select hashtextextended('messages' || t::text, 0)::numeric from messages t where key not like 'oracle-%'
			union all select hashtextextended('migrations' || t::text, 0)::numeric from migrations t
		) as hashes`).Scan(&d.Count, &d.Sum)
	return d, err
}

// keysAtOnce is how many keys are asked for in one round trip.
const keysAtOnce = 1000

func digestKeys(ctx context.Context, at site.Redis) (d digest, err error) {
	db := redis.NewClient(&redis.Options{Addr: at.Address, Password: at.Password})
	defer func() { err = errors.Join(err, db.Close()) }()
	var names []string
	keys := db.Scan(ctx, 0, "*", keysAtOnce).Iterator()
	for keys.Next(ctx) {
		names = append(names, keys.Val())
	}
	if err := keys.Err(); err != nil {
		return d, err
	}
	slices.Sort(names)
	names = slices.Compact(names) // a scan may give a key twice
	var sum adder
	for group := range slices.Chunk(names, keysAtOnce) {
		if err := addKeys(ctx, db, group, &sum); err != nil {
			return d, err
		}
	}
	return sum.digest(), nil
}

// addKeys asks for the types of some keys, then for their values, each in one
// round trip, and adds them up. The oracle's own sessions are left out.
func addKeys(ctx context.Context, db *redis.Client, names []string, sum *adder) error {
	kinds := make([]*redis.StatusCmd, len(names))
	_, err := db.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			kinds[i] = pipe.Type(ctx, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	values := make([]func() (string, error), len(names))
	_, err = db.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			var err error
			if values[i], err = valueOf(ctx, pipe, name, kinds[i].Val()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		value, err := values[i]()
		if err != nil {
			return err
		}
		if kinds[i].Val() != "string" || !isOracleSession(value) {
			sum.add(name, kinds[i].Val(), value)
		}
	}
	return nil
}

// valueOf asks for a value, and gives what writes the answer down so that equal
// values give equal text, however the server stores them.
func valueOf(ctx context.Context, pipe redis.Pipeliner, name, kindOf string) (func() (string, error), error) {
	switch kindOf {
	case "string":
		answer := pipe.Get(ctx, name)
		return answer.Result, nil
	case "hash":
		answer := pipe.HGetAll(ctx, name)
		return func() (string, error) { return asJSON(answer.Val()) }, nil // its keys are sorted
	case "list":
		answer := pipe.LRange(ctx, name, 0, -1)
		return func() (string, error) { return asJSON(answer.Val()) }, nil
	case "zset":
		answer := pipe.ZRangeWithScores(ctx, name, 0, -1)
		return func() (string, error) { return asJSON(answer.Val()) }, nil
	case "set":
		answer := pipe.SMembers(ctx, name)
		return func() (string, error) { return asJSON(slices.Sorted(slices.Values(answer.Val()))) }, nil
	}
	return nil, fmt.Errorf("%s is a %s, which is not known here", name, kindOf)
}

func asJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

var temporaryName = regexp.MustCompile(`\.tmp$`) // uploads that were never acknowledged

func digestFiles(dir string) (digest, error) {
	var sum adder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || numberedName.MatchString(e.Name()) || temporaryName.MatchString(e.Name()) {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		sum.add(relative, string(raw))
		return err
	})
	return sum.digest(), err
}

// configFile is a configuration file as it was.
type configFile struct {
	Path        string      `json:"path"`
	Mode        fs.FileMode `json:"mode"`
	Fingerprint string      `json:"fingerprint"`
}

func readConfiguration(dir string) ([]configFile, error) {
	var files []configFile
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		files = append(files, configFile{Path: relative, Mode: info.Mode(), Fingerprint: fingerprint(raw)})
		return err
	})
	slices.SortFunc(files, func(a, b configFile) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}
