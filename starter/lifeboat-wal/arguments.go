package main

import "strings"

const (
	walPush  = "wal-push"
	walFetch = "wal-fetch"
)

// arguments are a command line of lifeboat that this program understands.
type arguments struct {
	command               string
	rest                  []string
	config, database, pin string
	from                  string // matters to what is fetched from a store alone
}

// parse reads a command line. Whatever it does not know to mean the same to lifeboat
// is not understood.
func parse(args []string) (a arguments, understood bool) {
	flags := map[string]*string{"--config": &a.config, "--database": &a.database, "--pin": &a.pin, "--from": &a.from}
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			a.rest = append(a.rest, args[i])
			continue
		}
		name, value, given := strings.Cut(args[i], "=")
		into := flags[name]
		if into == nil || *into != "" {
			return a, false
		}
		if !given {
			if i++; i == len(args) {
				return a, false
			}
			value = args[i]
		}
		if *into = value; value == "" {
			return a, false
		}
	}
	if len(a.rest) == 0 {
		return a, false
	}
	a.command, a.rest = a.rest[0], a.rest[1:]
	switch a.command {
	case walPush:
		return a, len(a.rest) == 1 && a.pin == "" && a.from == ""
	case walFetch:
		return a, len(a.rest) == 2 && a.pin != "" && a.database == ""
	}
	return a, false
}
