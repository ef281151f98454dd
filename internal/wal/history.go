package wal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/frende/lifeboat/internal/postgres"
)

// parseHistory reads the history file of a timeline (timeline.c,
// readTimeLineHistory): per line a parent and where it was left, oldest first;
// comments and empty lines are allowed. It gives the way to the timeline itself.
func parseHistory(timeline uint32, body []byte) ([]Branch, error) {
	var way []Branch
	var begin postgres.LSN
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		var parent uint32
		var at string
		if _, err := fmt.Sscan(text, &parent, &at); err != nil {
			return nil, fmt.Errorf("line %q of the timeline history: %w", lines.Text(), err)
		}
		left, err := postgres.ParseLSN(at)
		if err != nil {
			return nil, err
		}
		if len(way) > 0 && (parent <= way[len(way)-1].Timeline || left < begin) {
			return nil, fmt.Errorf("timelines of the history are not in order at %q", lines.Text())
		}
		way = append(way, Branch{Timeline: parent, Begin: begin})
		begin = left
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(way) == 0 || way[len(way)-1].Timeline >= timeline {
		return nil, errors.New("the timeline history does not lead to its timeline")
	}
	return append(way, Branch{Timeline: timeline, Begin: begin}), nil
}

// descends says whether the way passes through the timeline and leaves it no
// earlier than at the position.
func descends(way []Branch, timeline uint32, at postgres.LSN) bool {
	for i, branch := range way {
		if branch.Timeline == timeline {
			return i == len(way)-1 || way[i+1].Begin >= at
		}
	}
	return false
}
