// Command load fills an empty Frende with people, matches, messages, sessions
// and photos. The same seed gives the same data.
//
//	load --config DIR [--database 200MiB] [--photos 2000] [--keys 20000] [--seed 1]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/frende/lifeboat/examples/frende/site"
)

// size is a flag of bytes: a number, or one with KiB, MiB or GiB.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

func (s *size) Set(text string) error {
	unit := int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = number, bytes
		}
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 {
		return errors.New("a size is a number of bytes, or one with KiB, MiB or GiB")
	}
	*s = size(number * unit)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	database := size(200 << 20)
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	config := flags.String("config", "config", "directory of Frende's configuration files")
	flags.Var(&database, "database", "size of the tables in PostgreSQL, about")
	photos := flags.Int("photos", 2000, "photos on disk")
	keys := flags.Int("keys", 20000, "keys in Redis")
	seed := flags.Uint64("seed", 1, "same seed, same data")
	if err := flags.Parse(args); err != nil {
		return err
	}
	where, err := site.Read[site.Storage](*config, site.StorageFile)
	if err != nil {
		return err
	}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	var rows, photoBytes int64
	group.Go(func() (err error) { rows, err = fillDatabase(ctx, where.Database, int64(database), *seed); return })
	group.Go(func() error { return fillRedis(ctx, where.Redis, *keys, *seed) })
	group.Go(func() (err error) { photoBytes, err = fillPhotos(ctx, where.Photos, *photos, *seed); return })
	if err := group.Wait(); err != nil {
		return err
	}
	fmt.Printf("loaded %d rows, %d keys, %d photos (%d MiB) in %.1fs\n", rows, *keys, *photos, photoBytes>>20, time.Since(began).Seconds())
	return nil
}
