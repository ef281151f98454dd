package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/frende/lifeboat/internal/lab"
)

// damage is what was done.
type damage struct {
	At      time.Time `json:"at"` // the first kill, the flip, or after the drop
	Killed  []string  `json:"killed,omitempty"`
	Dropped string    `json:"dropped,omitempty"` // table
	Removed []string  `json:"removed,omitempty"`
	Object  string    `json:"object,omitempty"` // key inside the buckets
	Offset  int64     `json:"offset,omitempty"` // of the byte that was flipped
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	done, err := run(ctx, os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(done)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "wreck: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (damage, error) {
	flags := flag.NewFlagSet("wreck", flag.ContinueOnError)
	dir := flags.String("lab", ".lab", "directory of the lab")
	if err := flags.Parse(args); err != nil {
		return damage{}, err
	}
	l, err := lab.Open(*dir)
	if err != nil {
		return damage{}, err
	}
	switch flags.Arg(0) {
	case "host":
		return wreckHost(ctx, l, flags.Args()[1:])
	case "chunk":
		return wreckChunk(l, flags.Args()[1:])
	case "table":
		return wreckTable(ctx, l, flags.Args()[1:])
	}
	return damage{}, errors.New("usage: wreck [--lab DIR] host|chunk|table …")
}

func wreckHost(ctx context.Context, l *lab.Lab, args []string) (damage, error) {
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	kill := flags.String("kill", "", "services, with commas")
	remove := flags.String("remove", "", "directories, with commas")
	if err := flags.Parse(args); err != nil {
		return damage{}, err
	}
	var services []*lab.Service
	for _, name := range list(*kill) {
		service, err := l.Service(name)
		if err != nil {
			return damage{}, err
		}
		services = append(services, service)
	}
	paths := list(*remove)
	for _, path := range paths {
		if err := inside(l, path); err != nil {
			return damage{}, err
		}
	}
	var done damage
	for _, service := range services {
		at, err := service.Kill(ctx)
		if err != nil {
			return done, err
		}
		if done.At.IsZero() {
			done.At = at
		}
		done.Killed = append(done.Killed, service.Name())
	}
	for _, path := range paths {
		if err := takeAway(path); err != nil {
			return done, err
		}
		done.Removed = append(done.Removed, path)
	}
	return done, nil
}

// takeAway takes a directory's name away first: the application still writes into it.
func takeAway(path string) error {
	gone := path + ".gone"
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// wreckChunk damages the largest chunk under the key, so that it is one of the
// data and not of a table.
func wreckChunk(l *lab.Lab, args []string) (damage, error) {
	flags := flag.NewFlagSet("chunk", flag.ContinueOnError)
	stores := flags.String("store", "", "directories of buckets, with commas")
	under := flags.String("under", "", "key of a backup")
	if err := flags.Parse(args); err != nil {
		return damage{}, err
	}
	folders := list(*stores)
	if len(folders) == 0 || *under == "" {
		return damage{}, errors.New("chunk needs --store and --under")
	}
	for _, folder := range folders {
		if err := inside(l, folder); err != nil {
			return damage{}, err
		}
	}
	object, size, err := largestChunk(folders[0], *under)
	if err != nil {
		return damage{}, err
	}
	done := damage{At: time.Now(), Object: object, Offset: size / 2}
	for _, folder := range folders {
		if err := flip(filepath.Join(folder, filepath.FromSlash(object)), done.Offset); err != nil {
			return done, err
		}
	}
	return done, nil
}

func largestChunk(folder, key string) (object string, size int64, err error) {
	root := filepath.Join(folder, filepath.FromSlash(key))
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !slices.Contains(strings.Split(filepath.ToSlash(path), "/"), "chunk") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() > size {
			size = info.Size()
			object, err = filepath.Rel(folder, path)
		}
		return err
	})
	if err == nil && object == "" {
		err = fmt.Errorf("%s has no chunk", root)
	}
	return filepath.ToSlash(object), size, err
}

// flip changes one byte in place, and leaves the file's attributes.
func flip(path string, offset int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err = file.ReadAt(b[:], offset)
	if err == nil {
		b[0] ^= 0x10
		_, err = file.WriteAt(b[:], offset)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// inside refuses whatever is not a part of the lab.
func inside(l *lab.Lab, path string) error {
	relative, err := filepath.Rel(l.Dir, path)
	if err != nil || relative == "." || !filepath.IsLocal(relative) {
		return fmt.Errorf("%s does not lie inside the lab %s", path, l.Dir)
	}
	return nil
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
