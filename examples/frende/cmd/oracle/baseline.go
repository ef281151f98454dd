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

func digestKeys(ctx context.Context, at site.Redis) (d digest, err error) {
	db := redis.NewClient(&redis.Options{Addr: at.Address, Password: at.Password})
	defer func() { err = errors.Join(err, db.Close()) }()
	var sum adder
	keys := db.Scan(ctx, 0, "*", 1000).Iterator()
	seen := map[string]bool{} // a scan may give a key twice
	for keys.Next(ctx) {
		name := keys.Val()
		if seen[name] {
			continue
		}
		seen[name] = true
		kindOf, err := db.Type(ctx, name).Result()
		if err != nil {
			return d, err
		}
		value, err := valueOf(ctx, db, name, kindOf)
		if err != nil {
			return d, err
		}
		if kindOf == "string" && isOracleSession(value) {
			continue
		}
		sum.add(name, kindOf, value)
	}
	return sum.digest(), keys.Err()
}

// valueOf writes a value down so that equal values give equal text, however
// the server stores them.
func valueOf(ctx context.Context, db *redis.Client, name, kindOf string) (string, error) {
	var value any
	var err error
	switch kindOf {
	case "string":
		return db.Get(ctx, name).Result()
	case "hash":
		value, err = db.HGetAll(ctx, name).Result() // JSON sorts its keys
	case "list":
		value, err = db.LRange(ctx, name, 0, -1).Result()
	case "zset":
		value, err = db.ZRangeWithScores(ctx, name, 0, -1).Result()
	case "set":
		var members []string
		members, err = db.SMembers(ctx, name).Result()
		slices.Sort(members)
		value = members
	default:
		return "", fmt.Errorf("%s is a %s, which is not known here", name, kindOf)
	}
	if err != nil {
		return "", err
	}
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
