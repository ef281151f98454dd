package vault

import (
	"context"

	"github.com/frende/lifeboat/internal/store"
)

// ShareFrames commits a backup that, besides what was written, is made of the
// first frames of an object of an earlier one.
func ShareFrames(ctx context.Context, w *Writer, of *Manifest, object int) (*Manifest, error) {
	m, err := w.manifest(nil)
	if err != nil {
		return nil, err
	}
	shared := of.Objects[object]
	m.Base = of.Key
	m.Objects = append(m.Objects, shared)
	extent := Extent{Object: len(m.Objects) - 1, Frames: shared.frames(), Bytes: shared.Bytes}
	m.Streams[0].Extents = append(m.Streams[0].Extents, extent)
	m.Streams[0].Bytes += extent.Bytes
	m.Bytes += extent.Bytes
	if err := m.check(); err != nil {
		return nil, err
	}
	plain, err := encodeManifest(m, w.v.cfg.Keys)
	if err != nil {
		return nil, err
	}
	sealed, err := w.sealSmall(header{Kind: kindManifest, Codec: codecZstd, Key: manifestKey(m.Key)}, plain)
	if err != nil {
		return nil, err
	}
	_, err = w.v.cfg.Store.Put(ctx, manifestKey(m.Key), sealed.body, store.PutOptions{IfNoneMatch: true})
	return m, err
}

// proved is the error of prove.
func proved(_ [][frameMACSize]byte, err error) error { return err }
