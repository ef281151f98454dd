package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// header is the first line of a log.
type header struct {
	Run           string       `json:"run"`
	Began         time.Time    `json:"began"`
	Match         int64        `json:"match"`
	Author        int64        `json:"author"`
	Baseline      baseline     `json:"baseline"`
	Configuration []configFile `json:"configuration"`
}

// entry is one acknowledged write.
type entry struct {
	Kind kind `json:"kind"`
	number
	Token  string    `json:"token,omitempty"` // of the session, when it is a key
	Began  time.Time `json:"began"`           // before it was first sent
	Acked  time.Time `json:"acked"`           // after it was acknowledged
	Before lsn       `json:"before"`          // WAL insert position at these moments
	After  lsn       `json:"after"`
}

// journal appends lines to a log. Lines that come while one sync runs share the next.
type journal struct {
	file  *os.File
	lines chan line
	done  chan error
}

type line struct {
	text   []byte
	synced chan error
}

func createJournal(path string, h header) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, lines: make(chan line, 64), done: make(chan error, 1)}
	go j.run()
	return j, j.append(h)
}

// append returns when the line is on disk.
func (j *journal) append(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	synced := make(chan error, 1)
	j.lines <- line{text: append(text, '\n'), synced: synced}
	return <-synced
}

func (j *journal) run() {
	var failed error
	for first := range j.lines {
		group := []line{first}
		var text bytes.Buffer
		text.Write(first.text)
	more:
		for {
			select {
			case next, open := <-j.lines:
				if !open {
					break more
				}
				group = append(group, next)
				text.Write(next.text)
			default:
				break more
			}
		}
		if failed == nil {
			_, err := j.file.Write(text.Bytes())
			failed = errors.Join(err, j.file.Sync())
		}
		for _, l := range group {
			l.synced <- failed
		}
	}
	j.done <- errors.Join(failed, j.file.Close())
}

// close ends the log; nothing may be appended afterwards.
func (j *journal) close() error {
	close(j.lines)
	return <-j.done
}

// readJournal reads a log. A last line that was cut off was never acknowledged
// as logged, and is left out.
func readJournal(ctx context.Context, path string) (header, []entry, error) {
	opened, err := os.Open(path)
	if err != nil {
		return header{}, nil, err
	}
	defer func() { _ = opened.Close() }() // read only
	reader := bufio.NewReader(opened)
	var h header
	var entries []entry
	for n := 1; ; n++ {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return h, nil, err
		}
		if n == 1 {
			err = json.Unmarshal(text, &h)
		} else {
			var e entry
			err = json.Unmarshal(text, &e)
			entries = append(entries, e)
		}
		if err != nil {
			return h, nil, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
	if h.Run == "" {
		return h, nil, fmt.Errorf("%s has no first line", path)
	}
	return h, entries, nil
}
