package redis

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/frende/lifeboat/internal/fault"
)

// poll is the time between two looks at a server that is busy.
const poll = 50 * time.Millisecond

// Config says how a server is reached.
type Config struct {
	Address  string // host:port, or the absolute path of a socket
	Username string
	Password string
}

// String names the server and keeps the password.
func (c Config) String() string { return c.Address }

// GoString is String.
func (c Config) GoString() string { return c.Address }

// Server is a connection to one Redis server.
type Server struct {
	config Config
	client *goredis.Client
}

// Connect reaches the server and logs in. A server that is still loading counts
// as reached.
//
// Errors: ServerUnavailable, which can be tried again; ServerRefused for a wrong
// user or password.
func Connect(ctx context.Context, c Config) (*Server, error) {
	network := "tcp"
	if strings.HasPrefix(c.Address, "/") {
		network = "unix"
	}
	client := goredis.NewClient(&goredis.Options{
		Network: network, Addr: c.Address, Username: c.Username, Password: c.Password,
		Protocol: 2, PoolSize: 2, MaxRetries: -1, DialTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		DisableIdentity: true,
	})
	s := &Server{config: c, client: client}
	if _, err := s.info(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the connection.
func (s *Server) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fault.New(fault.ServerUnavailable, "close connection to redis", s.config.Address, err)
	}
	return nil
}

// Facts are what a server says of itself.
type Facts struct {
	Version  string // "7.0.15"
	RunID    string // of the server process
	Role     string // "master" or "slave", as Redis says it
	Master   string // host of the master that it copies; "" for a master
	Linked   bool   // a replica that its master feeds
	Replicas int
	Dir      string // data directory
	Layout   Layout
	Keys     int64            // sum over databases
	KeysByDB map[string]int64 // "db0": 12
	Expires  int64            // keys with an expiry
	Changes  int64            // since the last save
	Mark     Mark             // of the last save
	Loading  bool             // still reading its data: counts are not final
}

// Facts asks the server.
func (s *Server) Facts(ctx context.Context) (Facts, error) {
	i, err := s.info(ctx)
	if err != nil {
		return Facts{}, err
	}
	dir, layout, err := s.settings(ctx)
	if err != nil {
		return Facts{}, err
	}
	keys, byDB, expires := i.keyspace()
	return Facts{
		Version: i["redis_version"], RunID: i["run_id"], Role: i["role"], Master: i["master_host"], Linked: i["master_link_status"] == "up", Replicas: int(i.number("connected_slaves")),
		Dir: dir, Layout: layout, Keys: keys, KeysByDB: byDB, Expires: expires,
		Changes: i.number("rdb_changes_since_last_save"), Mark: mark(i, i, i),
		Loading: i.on("loading"),
	}, nil
}

// CheckDetached refuses, with ServerSettings, a server that copies a master.
func (f Facts) CheckDetached(subject string) error {
	if f.Role == roleMaster {
		return nil
	}
	return masterFault(subject, f.Master)
}

// CheckLinked refuses, with ServerUnavailable, a replica that its master does not
// feed: nobody knows how old its data is.
func (f Facts) CheckLinked(subject string) error {
	if f.Role == roleMaster || f.Linked {
		return nil
	}
	return fault.Newf(fault.ServerUnavailable, "back up", subject, "it is a replica, and its link to its master %s is down", f.Master).
		WithHint("look at the master, or name it in address of the cache")
}

// roleMaster is how INFO says that a server copies nobody.
const roleMaster = "master"

func masterFault(subject, master string) error {
	return fault.Newf(fault.ServerSettings, "check replication of", subject, "it copies the master %s", master).
		WithHint("what is recovered would be replaced by the master's data: recover the master, or remove replicaof and run REPLICAOF NO ONE")
}

// Detach makes a server that copies a master a master itself, and says whether it
// was none. Its data stays as it is.
func (s *Server) Detach(ctx context.Context) (bool, error) {
	i, err := s.info(ctx)
	if err != nil || i["role"] == roleMaster {
		return false, err
	}
	if err := s.client.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		return false, s.failed("detach from its master: redis", err)
	}
	if i, err = s.info(ctx); err != nil {
		return false, err
	}
	if i["role"] != roleMaster {
		return false, masterFault(s.config.Address, i["master_host"])
	}
	return true, nil
}

// settings reads where and how the server keeps its data.
func (s *Server) settings(ctx context.Context) (string, Layout, error) {
	values := map[string]string{}
	for _, name := range []string{"dir", "appendonly", "dbfilename", "appenddirname", "appendfilename", "databases"} {
		found, err := s.client.ConfigGet(ctx, name).Result()
		if err != nil {
			return "", Layout{}, s.failed("read settings of redis", err)
		}
		values[name] = found[name]
	}
	layout := Layout{
		AppendOnly: values["appendonly"] == "yes", DBFilename: values["dbfilename"],
		AppendDirname: values["appenddirname"], AppendFilename: values["appendfilename"],
	}
	var err error
	if layout.Databases, err = strconv.Atoi(values["databases"]); err != nil {
		return "", Layout{}, fault.New(fault.ServerFailed, "read settings of redis", s.config.Address, err)
	}
	return values["dir"], layout, layout.check(s.config.Address)
}

// Loaded is what a server read when it started.
type Loaded struct {
	Version string
	Keys    int64 // that it took
	Expired int64 // that had run out, and were passed over
	Now     int64 // keys that it holds now
}

// WaitLoaded waits until the server answers and has read its data, for as long
// as ctx lasts.
func (s *Server) WaitLoaded(ctx context.Context) (Loaded, error) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		i, err := s.info(ctx)
		if err != nil && (!fault.Has(err, fault.ServerUnavailable) || ctx.Err() != nil) {
			return Loaded{}, err
		}
		if err == nil && !i.on("loading") {
			keys, _, _ := i.keyspace()
			loaded := Loaded{Version: i["redis_version"], Keys: keys, Expired: i.number("rdb_last_load_keys_expired"), Now: keys}
			if _, told := i["rdb_last_load_keys_loaded"]; told { // since Redis 7.0: right even when someone has written since
				loaded.Keys = i.number("rdb_last_load_keys_loaded")
			}
			return loaded, nil
		}
		select {
		case <-ctx.Done():
			return Loaded{}, fault.New(fault.ServerUnavailable, "wait until it has loaded: redis", s.config.Address, ctx.Err())
		case <-ticker.C:
		}
	}
}

// info is the answer to INFO, by field.
type info map[string]string

func (s *Server) info(ctx context.Context) (info, error) {
	text, err := s.client.Info(ctx).Result()
	if err != nil {
		return nil, s.failed("ask redis", err)
	}
	return parseInfo(text), nil
}

func parseInfo(text string) info {
	found := make(info)
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if ok {
			found[name] = value
		}
	}
	return found
}

// number gives a field as a number; 0 when the server does not have it.
func (i info) number(name string) int64 {
	value, err := strconv.ParseInt(i[name], 10, 64)
	if err != nil {
		return 0
	}
	return value
}

func (i info) on(name string) bool { return i[name] == "1" }

// keyspace sums up the lines "db0:keys=1,expires=0,avg_ttl=0".
func (i info) keyspace() (keys int64, byDB map[string]int64, expires int64) {
	byDB = make(map[string]int64)
	for name, value := range i {
		rest, isDB := strings.CutPrefix(name, "db")
		if _, err := strconv.Atoi(rest); !isDB || err != nil {
			continue
		}
		for field := range strings.SplitSeq(value, ",") {
			what, count, _ := strings.Cut(field, "=")
			n, err := strconv.ParseInt(count, 10, 64)
			if err != nil {
				continue // avg_ttl of a later version
			}
			switch what {
			case "keys":
				keys += n
				byDB[name] = n
			case "expires":
				expires += n
			}
		}
	}
	return keys, byDB, expires
}

// failed tells a server that can't be reached from one that refuses. Redis's
// answers name commands and never hold a secret.
func (s *Server) failed(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var answer goredis.Error
	if !errors.As(err, &answer) {
		var opErr *net.OpError
		if errors.As(err, &opErr) {
			err = opErr.Err
		}
		return fault.New(fault.ServerUnavailable, op, s.config.Address, err)
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	switch word {
	case "NOAUTH", "WRONGPASS":
		return fault.New(fault.ServerRefused, op, s.config.Address, errors.New(word)).WithHint("check username and password of the cache in lifeboat.yaml")
	case "NOPERM":
		return fault.New(fault.ServerRefused, op, s.config.Address, errors.New(word)).
			WithHint("give the user: ACL SETUSER NAME +info +config|get +bgsave +ping")
	case "LOADING", "MASTERDOWN", "BUSY":
		return fault.New(fault.ServerUnavailable, op, s.config.Address, errors.New(word))
	case "ERR":
		if strings.Contains(answer.Error(), "unknown command") {
			return fault.New(fault.ServerRefused, op, s.config.Address, errors.New("the command is renamed or disabled")).
				WithHint("allow INFO, CONFIG GET and BGSAVE on this server")
		}
	}
	return fault.New(fault.ServerFailed, op, s.config.Address, errors.New(strings.ToLower(answer.Error())))
}
