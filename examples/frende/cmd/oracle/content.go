package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
)

// kind of what is written.
type kind string

const (
	row  kind = "row"
	key  kind = "key"
	file kind = "file"
)

// number names one write: the n-th of one stream of one kind. Numbers start at 1.
type number struct {
	Stream int `json:"stream"`
	Seq    int `json:"seq"`
}

// content gives what the write of this number has to contain.
func content(run string, k kind, n number) []byte {
	head := fmt.Sprintf("oracle %s %s %d %d ", run, k, n.Stream, n.Seq)
	random := rand.NewChaCha8(sha256.Sum256([]byte(head)))
	raw := make([]byte, 40+int(random.Uint64()%80))
	if k == file {
		raw = make([]byte, 1024+int(random.Uint64()%8192))
	}
	_, _ = random.Read(raw) // never fails
	if k == file {
		return append([]byte(head), raw...)
	}
	return []byte(head + hex.EncodeToString(raw))
}

// fingerprint is what survivors are compared by.
func fingerprint(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func rowKey(run string, n number) string   { return fmt.Sprintf("oracle-%s-%d-%d", run, n.Stream, n.Seq) }
func fileName(run string, n number) string { return rowKey(run, n) + ".jpg" }

var (
	numberedName    = regexp.MustCompile(`^oracle-([a-z0-9]+)-([0-9]+)-([0-9]+)(?:\.jpg)?$`)
	numberedContent = regexp.MustCompile(`^oracle ([a-z0-9]+) [a-z]+ ([0-9]+) ([0-9]+) `)
)

// numberIn reads the run and the number out of a name or a content.
func numberIn(pattern *regexp.Regexp, text string) (run string, n number, ok bool) {
	found := pattern.FindStringSubmatch(text)
	if found == nil {
		return "", number{}, false
	}
	stream, streamErr := strconv.Atoi(found[2])
	seq, seqErr := strconv.Atoi(found[3])
	return found[1], number{Stream: stream, Seq: seq}, streamErr == nil && seqErr == nil
}
