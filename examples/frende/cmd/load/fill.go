package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/examples/frende/site"
)

const (
	bytesPerMessage = 800 // of a message with its share of the indexes, measured
	messagesPerUser = 20
	keysPerPipeline = 1000
	smallestPhoto   = 4 << 10
	largestPhoto    = 64 << 10
	sessionLife     = 30 * 24 * time.Hour
)

// vocabulary makes text that compresses about as well as what people write.
const vocabulary = `the a of and to in is you that it he was for on are as with his they at be this have from
	coffee evening weekend together mountain river museum concert walking laughing remember tomorrow picture
	guitar kitchen garden harbour train window letter summer winter story morning breakfast cinema friend`

// author writes one part of the data.
type author struct {
	*rand.Rand
	words []string
}

// source gives the author of one part; the same seed and part write the same.
func source(seed, part uint64) *author {
	return &author{Rand: rand.New(rand.NewPCG(seed, part)), words: strings.Fields(vocabulary)}
}

func (a *author) text(length int) string {
	var b strings.Builder
	for b.Len() < length {
		b.WriteString(a.words[a.IntN(len(a.words))])
		if a.IntN(4) == 0 {
			fmt.Fprintf(&b, " %x", a.Uint32()) // names, places, links
		}
		b.WriteByte(' ')
	}
	return b.String()[:length]
}

// fillDatabase copies rows in and says how many. It refuses a database that has people.
func fillDatabase(ctx context.Context, dsn string, bytes int64, seed uint64) (int64, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is left to save
	var people int64
	if err := conn.QueryRow(ctx, "select count(*) from users").Scan(&people); err != nil {
		return 0, err
	}
	if people > 0 {
		return 0, fmt.Errorf("the database has %d people already", people)
	}
	messages := bytes / bytesPerMessage
	users := max(2, messages/messagesPerUser)
	r := source(seed, 1)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"users"}, []string{"name", "email"}, pgx.CopyFromSlice(int(users), func(i int) ([]any, error) {
		return []any{r.text(12), fmt.Sprintf("person-%d@frende.example", i+1)}, nil
	}))
	if err != nil {
		return 0, err
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"matches"}, []string{"first_id", "second_id"}, pgx.CopyFromSlice(int(users), func(i int) ([]any, error) {
		first := int64(i) + 1
		return []any{first, first%users + 1}, nil
	}))
	if err != nil {
		return 0, err
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"match_id", "author_id", "key", "body"}, pgx.CopyFromSlice(int(messages), func(i int) ([]any, error) {
		match := r.Int64N(users) + 1
		return []any{match, match, fmt.Sprintf("loaded-%d", i), r.text(400 + r.IntN(400))}, nil
	}))
	if err != nil {
		return 0, err
	}
	_, err = conn.Exec(ctx, "analyze")
	return 2*users + messages, err
}

// fillRedis sets sessions for the most part, and a few of the other types that
// a cache holds.
func fillRedis(ctx context.Context, at site.Redis, keys int, seed uint64) (err error) {
	db := redis.NewClient(&redis.Options{Addr: at.Address, Password: at.Password})
	defer func() { err = errors.Join(err, db.Close()) }()
	r := source(seed, 2)
	for done := 0; done < keys; {
		pipe := db.Pipeline()
		for range min(keysPerPipeline, keys-done) {
			done++
			switch done % 10 {
			case 0:
				pipe.HSet(ctx, fmt.Sprintf("profile:%d", done), "name", r.text(12), "about", r.text(80))
			case 1:
				pipe.RPush(ctx, fmt.Sprintf("feed:%d", done), r.text(20), r.text(20), r.text(20))
			case 2:
				pipe.ZAdd(ctx, fmt.Sprintf("nearby:%d", done), redis.Z{Score: r.Float64(), Member: r.text(12)}, redis.Z{Score: r.Float64(), Member: r.text(12)})
			default:
				pipe.Set(ctx, fmt.Sprintf("session:loaded-%d", done), fmt.Sprintf(`{"user":%d,"device":%q}`, done, r.text(120)), sessionLife)
			}
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fillPhotos writes photos of different sizes and gives their bytes. They are
// not synced one by one: what is loaded was never acknowledged to anybody.
func fillPhotos(ctx context.Context, dir string, photos int, seed uint64) (int64, error) {
	r := source(seed, 3)
	noise := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	buffer := make([]byte, largestPhoto)
	var total int64
	for i := range photos {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		folder := filepath.Join(dir, fmt.Sprint(1_000_000+i/20))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return total, err
		}
		content := buffer[:smallestPhoto+r.IntN(largestPhoto-smallestPhoto)]
		if _, err := noise.Read(content); err != nil {
			return total, err
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("photo-%d.jpg", i)), content, 0o644); err != nil {
			return total, err
		}
		total += int64(len(content))
	}
	return total, nil
}
