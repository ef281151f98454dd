package redis

import (
	"context"
	"strings"
	"time"
)

// Persistence is how a server keeps its data, and whether that works.
type Persistence struct {
	AppendOnly  bool      // it writes an append-only file
	AppendFsync string    // "always", "everysec" or "no"
	AppendOK    bool      // the last write to the append-only file, and its last rewrite, succeeded
	Save        string    // save points, as Redis writes them: "900 1"; "" for none
	SaveOK      bool      // the last background save succeeded
	LastSave    time.Time // by the server's clock
	Changes     int64     // since then
}

// Persistence asks the server.
func (s *Server) Persistence(ctx context.Context) (Persistence, error) {
	i, err := s.info(ctx)
	if err != nil {
		return Persistence{}, err
	}
	values := map[string]string{}
	for _, name := range []string{"save", "appendfsync"} {
		found, err := s.client.ConfigGet(ctx, name).Result()
		if err != nil {
			return Persistence{}, s.failed("read settings of redis", err)
		}
		values[name] = strings.TrimSpace(found[name])
	}
	return Persistence{
		AppendOnly: i.on("aof_enabled"), AppendFsync: values["appendfsync"],
		AppendOK: i["aof_last_write_status"] != "err" && i["aof_last_bgrewrite_status"] != "err",
		Save:     values["save"], SaveOK: i["rdb_last_bgsave_status"] != "err",
		LastSave: time.Unix(i.number("rdb_last_save_time"), 0).UTC(), Changes: i.number("rdb_changes_since_last_save"),
	}, nil
}
