package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/tree"
)

// Names of streams of a base backup. Tablespaces are "<oid>.tar".
const (
	StreamBase     = "base.tar"
	StreamManifest = "backup_manifest"
)

// Sink takes the streams of a base backup, one after the other.
type Sink interface {
	// Stream begins the named stream. Its Write must not keep the slice: it is
	// the connection's own buffer. Close completes the stream. After an error
	// of BaseBackup all streams are worthless, closed or not.
	Stream(ctx context.Context, name string) (io.WriteCloser, error)
}

// Sorter is a stream of a Sink that wants to know whose bytes it is given.
type Sorter interface {
	// Content says that the next bytes are the content of a file, padded as tar does
	// it; "" that they are anything else.
	Content(path string)
}

// BackupOptions say how a base backup is taken.
type BackupOptions struct {
	Label    string // at most 1,024 bytes; stands in backup_label
	Spread   bool   // spread the first checkpoint over time, instead of at once
	SystemID string // fails with ForeignCluster when the server has another; empty: any
	Standby  bool   // fails with StandbyUnfit when the server is none, or is none any more

	// Progress is called between messages with the bytes sent so far and the
	// server's estimate of the total. May be nil.
	Progress func(done, total int64)
}

// BackupResult is what the server said of a base backup.
type BackupResult struct {
	SystemID    string
	Timeline    uint32
	StartLSN    LSN
	StopLSN     LSN // WAL from StartLSN to here must be there for a restore
	Tablespaces []Tablespace
	Tables      map[string][]tree.Entry // what each tar stream holds, by the stream's name
	Streams     []string                // names in the order in which they were sent
	Bytes       int64                   // of all streams
	Damaged     int                     // files with wrong page checksums; the backup is whole, its source is not
	DamagedIn   []DamagedFile           // which those are, as far as the server tells
	Started     time.Time               // before the server was asked: what was committed by now is in a restore to StopLSN
	Finished    time.Time
}

// archiveName is what the server may call a stream; it becomes part of a key.
var archiveName = regexp.MustCompile(`^(base|[1-9][0-9]{0,9})\.tar$`)

// BaseBackup streams a base backup into the sink (PostgreSQL manual, "Streaming
// Replication Protocol", BASE_BACKUP). Page checksums are verified by the server
// where the cluster has them.
//
// It fails with ServerUnavailable when the connection ends, ServerRefused when
// the role may not replicate, ServerSettings when the server's WAL level does
// not allow it, ForeignCluster, StandbyUnfit, IntegrityError when the stream is not what the
// protocol promises, and with the sink's own errors as they are.
func BaseBackup(ctx context.Context, login Login, o BackupOptions, sink Sink) (*BackupResult, error) {
	conn, err := login.connectReplication(ctx)
	if err != nil {
		return nil, err
	}
	b := &baseBackup{
		conn: conn, subject: login.String(), options: o, sink: sink,
		result: &BackupResult{Tables: map[string][]tree.Entry{}, Started: time.Now().UTC()},
	}
	// The connection is watched by hand: a watcher per message costs more than the message.
	stopped := context.AfterFunc(ctx, func() {
		// A connection that has no deadlines any more is closed already.
		_ = conn.Conn().SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		stopped()
		goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		// The server ends the backup with the connection, politely or not.
		_ = conn.Close(goodbye)
	}()
	if err := b.identify(ctx); err != nil {
		return nil, err
	}
	if err := b.run(ctx); err != nil {
		b.drop()
		return nil, err
	}
	b.result.DamagedIn = b.damage.files
	b.result.Damaged = max(b.result.Damaged, len(b.damage.files))
	b.result.Finished = time.Now().UTC()
	return b.result, nil
}

type baseBackup struct {
	conn    *pgconn.PgConn
	subject string
	options BackupOptions
	sink    Sink
	result  *BackupResult

	damage damage

	total int64 // estimate, in bytes
	name  string
	out   io.WriteCloser
	index *tarIndex // nil: the stream is no tar
	told  Sorter    // the stream, when it wants to know whose bytes these are
	known bool      // it was told that they are a file's
}

const backupOp = "take base backup of"

// identify asks the cluster for its identifier.
func (b *baseBackup) identify(ctx context.Context) error {
	results, err := b.conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return queryFault(ctx, backupOp, b.subject, err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 2 {
		return b.damaged("unexpected answer to IDENTIFY_SYSTEM")
	}
	b.result.SystemID = string(results[0].Rows[0][0])
	if version := b.conn.ParameterStatus("server_version"); version != "" {
		digits, _, _ := strings.Cut(version, ".")
		if major, err := strconv.Atoi(digits); err == nil {
			if err := checkMajor(backupOp, b.subject, major); err != nil {
				return err
			}
		}
	}
	if b.options.Standby && b.conn.ParameterStatus("in_hot_standby") != "on" {
		return fault.Newf(fault.StandbyUnfit, backupOp, b.subject, "it is no standby: it was promoted, or the name in its connection leads to another server")
	}
	return checkSystem(backupOp, b.subject, b.result.SystemID, b.options.SystemID)
}

// refused is what the server itself said. A standby ends a backup when it is promoted,
// and when the WAL that it replayed meanwhile lacks whole pages.
func (b *baseBackup) refused(said *pgconn.PgError) error {
	err := sayFault(backupOp, b.subject, said)
	if b.options.Standby && said.Code == stateNotInState {
		return fault.New(fault.StandbyUnfit, backupOp, b.subject, errors.Unwrap(err)).
			WithHint("nothing is lost: the next attempt takes the primary if this one is promoted; find out who promoted it, or who turned full_page_writes off")
	}
	return err
}

// run sends the command and follows the answer: start position, tablespaces,
// the copy, stop position.
func (b *baseBackup) run(ctx context.Context) error {
	checkpoint := "fast"
	if b.options.Spread {
		checkpoint = "spread"
	}
	label := strings.ReplaceAll(b.options.Label, "'", "''")
	b.conn.Frontend().SendQuery(&pgproto3.Query{String: fmt.Sprintf(
		"BASE_BACKUP (LABEL '%s', PROGRESS true, CHECKPOINT '%s', WAL false, WAIT false, TABLESPACE_MAP true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', VERIFY_CHECKSUMS true)",
		label, checkpoint)})
	if err := b.conn.Frontend().Flush(); err != nil {
		return b.lost(ctx, err)
	}
	sets, copied := 0, false
	for {
		message, err := b.conn.ReceiveMessage(context.Background())
		if err != nil {
			return b.lost(ctx, err)
		}
		switch m := message.(type) {
		case *pgproto3.RowDescription:
			sets++
		case *pgproto3.DataRow:
			if err := b.row(sets, copied, m.Values); err != nil {
				return err
			}
		case *pgproto3.CopyData:
			if err := b.data(ctx, m.Data); err != nil {
				return err
			}
		case *pgproto3.CopyDone:
			copied = true
			if err := b.finishStream(); err != nil {
				return err
			}
		case *pgproto3.NoticeResponse:
			b.damage.hear(m.Message)
		case *pgproto3.ErrorResponse:
			// Sent after the stop position: all is there, but pages are damaged.
			if m.Code == stateDamaged && copied && b.result.StopLSN != 0 {
				b.result.Damaged = 1
				continue
			}
			return b.refused(pgconn.ErrorResponseToPgError(m))
		case *pgproto3.ReadyForQuery:
			if !copied || b.result.StopLSN == 0 || b.result.Tables[StreamBase] == nil {
				return b.damaged("the server ended it early")
			}
			return nil
		}
	}
}

// row takes a row of the answer: the start position and the tablespaces before
// the copy, the stop position after it.
func (b *baseBackup) row(sets int, copied bool, values [][]byte) error {
	switch {
	case sets == 1 && len(values) >= 2:
		timeline, err := strconv.ParseUint(string(values[1]), 10, 32)
		if err != nil {
			return b.damaged("start timeline is not a number")
		}
		b.result.Timeline = uint32(timeline)
		b.result.StartLSN, err = ParseLSN(string(values[0]))
		return err
	case sets == 2 && len(values) >= 3:
		kilobytes, err := strconv.ParseInt(string(values[2]), 10, 64)
		if err != nil {
			return b.damaged("size of a tablespace is not a number")
		}
		b.total += kilobytes << 10
		if values[0] == nil {
			return nil // the data directory itself
		}
		oid, err := strconv.ParseUint(string(values[0]), 10, 32)
		if err != nil {
			return b.damaged("oid of a tablespace is not a number")
		}
		b.result.Tablespaces = append(b.result.Tablespaces,
			Tablespace{OID: uint32(oid), Location: string(values[1]), Bytes: kilobytes << 10})
		return nil
	case copied && len(values) >= 1:
		stop, err := ParseLSN(string(values[0]))
		b.result.StopLSN = stop
		return err
	default:
		return b.damaged("unexpected row")
	}
}

// data takes one CopyData message; its first byte says what it is (manual,
// BASE_BACKUP: "n" new archive, "m" manifest, "d" data, "p" progress).
func (b *baseBackup) data(ctx context.Context, message []byte) error {
	if len(message) == 0 {
		return b.damaged("empty message")
	}
	body := message[1:]
	switch message[0] {
	case 'n':
		name, _, found := bytes.Cut(body, []byte{0})
		if !found || !archiveName.Match(name) {
			return b.damaged("unexpected name of an archive")
		}
		return b.begin(ctx, string(name), &tarIndex{})
	case 'm':
		return b.begin(ctx, StreamManifest, nil)
	case 'd':
		if b.out == nil {
			return b.damaged("data before the first stream")
		}
		b.result.Bytes += int64(len(body))
		return b.pass(body)
	case 'p':
		if len(body) < 8 {
			return b.damaged("short progress message")
		}
		if b.options.Progress != nil {
			done := int64(binary.BigEndian.Uint64(body))
			b.options.Progress(done, max(b.total, done))
		}
		return nil
	default:
		return b.damaged("unknown kind of message")
	}
}

// pass hands the bytes of a stream on, and says whose they are.
func (b *baseBackup) pass(body []byte) error {
	if b.index == nil {
		_, err := b.out.Write(body)
		return err
	}
	for passed := 0; passed < len(body); {
		from := passed
		for passed < len(body) { // as much as can be said one thing of
			n, err := b.index.take(body[passed:])
			if err != nil {
				return b.damaged(err.Error())
			}
			passed += n
			if _, begins := b.index.content(); b.told != nil && (begins || b.known && b.index.skip == 0) {
				break
			}
		}
		if _, err := b.out.Write(body[from:passed]); err != nil {
			return err
		}
		if b.told != nil {
			b.sort()
		}
	}
	return nil
}

// sort tells the stream when what comes next is another's than what came before.
func (b *baseBackup) sort() {
	entry, begins := b.index.content()
	begins = begins && entry.Size >= sortedFrom
	if begins {
		b.told.Content(entry.Path)
	} else if b.known && b.index.skip == 0 {
		b.told.Content("")
	} else {
		return
	}
	b.known = begins
}

// sortedFrom is the size from which on a file is worth telling: what lies between
// two of them is told to be anything.
const sortedFrom = 1 << 20

// begin ends the stream before and opens the next.
func (b *baseBackup) begin(ctx context.Context, name string, index *tarIndex) error {
	if err := b.finishStream(); err != nil {
		return err
	}
	out, err := b.sink.Stream(ctx, name)
	if err != nil {
		return err
	}
	b.name, b.out, b.index, b.known = name, out, index, false
	b.told, _ = out.(Sorter)
	b.result.Streams = append(b.result.Streams, name)
	return nil
}

// finishStream completes the stream that is open, if one is.
func (b *baseBackup) finishStream() error {
	if b.out == nil {
		return nil
	}
	if b.index != nil {
		if err := b.index.finish(); err != nil {
			return b.damaged(b.name + ": " + err.Error())
		}
		b.result.Tables[b.name] = b.index.entries
	}
	out := b.out
	b.out, b.index, b.told = nil, nil, nil
	return out.Close()
}

// drop gives up the open stream after an error that is reported already.
func (b *baseBackup) drop() {
	if b.out != nil {
		// The caller is told that all streams are worthless.
		_ = b.out.Close()
	}
}

func (b *baseBackup) damaged(what string) error {
	return fault.New(fault.IntegrityError, backupOp, b.subject, errors.New(what)).
		WithHint("the server did not follow the backup protocol; check that nothing stands between it and this host")
}

// lost names the end of the connection.
func (b *baseBackup) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fault.New(fault.ServerUnavailable, backupOp, b.subject, err)
}
