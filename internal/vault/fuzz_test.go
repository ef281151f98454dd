package vault

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store/mem"
)

// FuzzHeader: what parses is written back just so, whatever else it is.
func FuzzHeader(f *testing.F) {
	v := small(f, nil)
	require.NoError(f, v.PutSealed(f.Context(), single, "wal-1", content(1, 100), SealedOptions{}))
	whole := raw(f, v.Store(), single)
	f.Add(whole[:binary.BigEndian.Uint16(whole[8:])])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerFixed+crcSize+tagSize { // make the checksum right, or nothing gets past it
			end := len(b) - tagSize - crcSize
			binary.BigEndian.PutUint16(b[8:], uint16(len(b)))
			binary.BigEndian.PutUint32(b[end:], castagnoli(b[:end]))
		}
		if len(b) < 10 {
			return // readers never ask about less
		}
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		require.Equal(t, b[:len(b)-tagSize], h.append(nil))
		require.Positive(t, h.frames())
		require.LessOrEqual(t, int(h.Plain), MaxChunkSize)
	})
}

// FuzzObject: whatever lies in an object's place, it is refused by name, unless it is the object.
func FuzzObject(f *testing.F) {
	s := mem.New("primary")
	v := small(f, func(c *Config) { c.Store = s })
	plain := content(1, 3000)
	require.NoError(f, v.PutSealed(f.Context(), single, "wal-1", plain, SealedOptions{}))
	whole := raw(f, s, single)
	f.Add(whole)
	f.Add(whole[:200])
	over := &tampered{Store: s, key: single}
	v = v.WithStores(over, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		over.body = body
		got, err := v.GetSealed(t.Context(), single)
		if err == nil {
			require.Equal(t, whole, body)
			require.Equal(t, plain, got)
			return
		}
		require.Contains(t, []fault.Kind{fault.IntegrityError, fault.FormatUnsupported, fault.KeyUnavailable}, fault.KindOf(err), "%v", err)
		require.Zero(t, v.cfg.Budget.Used())
	})
}

// FuzzManifest: a manifest that parses has numbers that reading can rely on.
func FuzzManifest(f *testing.F) {
	const key = "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"
	f.Add([]byte(`{"version":1,"key":"` + key + `","key_id":"k","codec":"zstd","bytes":10,"objects":[{"key":"a","length":100,"tag":"00","stream":"s","chunk":0,"frame":4,"bytes":10}],
		"streams":[{"name":"s","bytes":10,"extents":[[0,0,3,10]]}]}`))
	f.Add([]byte(`{"version":3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseManifest(key, "k", body)
		if err != nil {
			require.Contains(t, []fault.Kind{fault.IntegrityError, fault.FormatUnsupported}, fault.KindOf(err), "%v", err)
			return
		}
		b := &Backup{manifest: m}
		for _, s := range m.Streams {
			var total int64
			for _, e := range s.Extents {
				if len(m.Tables) > 0 {
					return
				}
				o := b.object(e)
				require.Positive(t, e.Bytes+1)
				require.LessOrEqual(t, e.First+e.Frames, o.frames())
				total += e.Bytes
			}
			require.Equal(t, s.Bytes, total)
			if total > 0 {
				kept, skip := b.trim(s.Extents, total-1, 1)
				require.Len(t, kept, 1)
				require.Less(t, skip, kept[0].Bytes)
			}
		}
	})
}
