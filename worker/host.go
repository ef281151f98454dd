package main

import (
	"os"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// hostName is this machine's name as the ledger's chain and the worker's
// identity use it: lower case, without what a key can't hold.
func hostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fault.New(fault.Unsupported, "find the name of", "this host", err)
	}
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(name))
	return "host-" + strings.Trim(kept, "-."), nil
}
